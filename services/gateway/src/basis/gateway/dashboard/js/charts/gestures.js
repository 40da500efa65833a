// Mouse, finger and wheel in a chart: drag moves the cursor, with Shift (or in zoom mode) it selects a range.

import { h } from "../dom.js";

const LEAST_PX = 6;

/** Wire a plot to the view. */
export function gestures(plot, view, signal) {
  const over = plot.over;
  const box = h("div", { class: "selection", hidden: true });
  over.append(box);
  over.classList.add("surface");
  let from = null;

  const tickAt = (x) => view.tickAt(plot.posToVal(x, "x") * 1000);
  const xOf = (event) => Math.min(over.clientWidth, Math.max(0, event.clientX - over.getBoundingClientRect().left));

  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    over.setPointerCapture(event.pointerId);
    const zooming = event.shiftKey || view.drag === "zoom";
    from = { x: xOf(event), zooming };
    if (!zooming) view.setCursor(tickAt(from.x));
  }, { signal });

  over.addEventListener("pointermove", (event) => {
    const x = xOf(event);
    if (from === null) {
      if (event.pointerType === "mouse") view.setHover(tickAt(x));
      return;
    }
    if (!from.zooming) {
      view.setHover(null);
      view.setCursor(tickAt(x));
      return;
    }
    box.hidden = false;
    box.style.left = `${Math.min(x, from.x)}px`;
    box.style.width = `${Math.abs(x - from.x)}px`;
  }, { signal });

  over.addEventListener("pointerup", (event) => {
    if (from?.zooming) {
      const x = xOf(event);
      if (Math.abs(x - from.x) >= LEAST_PX) view.setRange(tickAt(from.x), tickAt(x));
    }
    from = null;
    box.hidden = true;
  }, { signal });

  over.addEventListener("pointercancel", () => {
    from = null;
    box.hidden = true;
  }, { signal });
  over.addEventListener("pointerleave", () => view.setHover(null), { signal });
  over.addEventListener("dblclick", () => view.reset(), { signal });
  over.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    view.zoom(event.deltaY > 0 ? 1.25 : 0.8, tickAt(xOf(event)));
  }, { passive: false, signal });
}

/** Keys of the cursor: arrows a tick, with Shift a hundredth of the range, Page keys a tenth, Home and End its ends. */
export function cursorKey(event, view) {
  const hundredth = Math.max(1, Math.round((view.last - view.first) / 100));
  const step = event.shiftKey ? hundredth : 1;
  const moves = {
    ArrowLeft: () => view.setCursor(view.cursor - step),
    ArrowRight: () => view.setCursor(view.cursor + step),
    ArrowDown: () => view.setCursor(view.cursor - step),
    ArrowUp: () => view.setCursor(view.cursor + step),
    PageUp: () => view.setCursor(view.cursor + hundredth * 10),
    PageDown: () => view.setCursor(view.cursor - hundredth * 10),
    Home: () => view.setCursor(view.first),
    End: () => view.setCursor(view.last),
    "+": () => view.zoom(0.5),
    "=": () => view.zoom(0.5),
    "-": () => view.zoom(2),
    0: () => view.reset(),
  };
  const move = moves[event.key];
  if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return false;
  event.preventDefault();
  move();
  return true;
}
