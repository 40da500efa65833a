// Small pieces that several pages show.

import { h, icon, put, s, uniqueId } from "./dom.js";
import { Problem } from "./api.js";
import { words } from "./format.js";

/** Status of a run, an order or a check, in words and colour. */
export const pill = (kind, text = words(kind)) => h("span", { class: "pill", "data-kind": kind }, text);

/** A page or a part with nothing to show: says so, and what to do. */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" },
    s("svg", { viewBox: "0 0 132 56", "aria-hidden": "true" }, s("path", { d: "M4 44c24 0 26-26 44-26s20 14 36 14 18-24 44-24" })),
    h("h2", {}, title), h("p", {}, text), actions.length ? h("div", { class: "row" }, actions) : null);
}

/** Something went wrong: what the server said of it. */
export function trouble(error) {
  const code = error instanceof Problem && error.code ? ` [${error.code}]` : "";
  return h("div", { class: "notice", "data-kind": "bad", role: "alert" },
    h("strong", {}, (error instanceof Problem && error.title ? words(error.title) : "Something went wrong") + code), h("span", {}, error.message));
}

/** A short message that goes away. */
export function toast(text) {
  const one = h("div", { class: "toast" }, text);
  document.getElementById("toasts").append(one);
  setTimeout(() => one.remove(), 6000);
}

/** Icon button with a name. */
export const iconButton = (name, label, onclick, more = {}) =>
  h("button", { type: "button", class: "quiet icon", "aria-label": label, title: label, onclick, ...more }, icon(name));

/** A drawer at the right; returns its body. Escape, the backdrop and the button close it. */
export function drawer(title, { onclose, actions = [] } = {}) {
  const id = uniqueId("drawer");
  const body = h("div", { class: "body" });
  const dialog = h("dialog", { class: "drawer", "aria-labelledby": id },
    h("div", { class: "head" }, h("h2", { id }, title), actions, iconButton("close", "Close", () => dialog.close())), body);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { body, dialog, setTitle: (text) => put(dialog.querySelector("h2"), text) };
}

/** Yes or no. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title },
      h("form", { class: "body", method: "dialog" }, h("h2", {}, title), h("p", { class: "soft" }, text),
        h("div", { class: "row" }, h("span", { class: "spring" }), h("button", { value: "no" }, "Keep it"), h("button", { class: "danger", value: "yes" }, yes))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Tabs of the ARIA pattern: arrows move, the panel is made when first shown. */
export function tabs(label, entries, chosen, onchange) {
  const bar = h("div", { class: "tabs", role: "tablist", "aria-label": label });
  const host = h("div", { class: "stack" });
  const known = new Map();
  function choose(name, focus) {
    for (const [one, { button, panel }] of known) {
      const on = one === name;
      button.setAttribute("aria-selected", String(on));
      button.tabIndex = on ? 0 : -1;
      panel.hidden = !on;
    }
    const found = known.get(name);
    if (focus) found.button.focus();
    if (!found.made) {
      found.made = true;
      found.make(found.panel);
    }
    onchange(name);
  }
  for (const { name, title, note, make } of entries) {
    const [tab, panelId] = [uniqueId("tab"), uniqueId("panel")];
    const button = h("button", { type: "button", role: "tab", id: tab, "aria-controls": panelId, onclick: () => choose(name, false) },
      title, note ? h("span", { class: "count" }, note) : null);
    const panel = h("div", { role: "tabpanel", id: panelId, "aria-labelledby": tab, class: "stack", hidden: true });
    known.set(name, { button, panel, make, made: false });
    bar.append(button);
    host.append(panel);
  }
  bar.addEventListener("keydown", (event) => {
    const names = [...known.keys()];
    const here = names.findIndex((name) => known.get(name).button === event.target);
    const next = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: names.length - 1 }[event.key];
    if (next === undefined || here < 0) return;
    event.preventDefault();
    choose(names[(next + names.length) % names.length], true);
  });
  return { bar, host, choose, start: () => choose(known.has(chosen) ? chosen : entries[0].name, false) };
}

/** JSON with its parts told apart; every piece is a text node. */
export function json(value) {
  const pre = h("pre", { class: "json", tabindex: "0", "aria-label": "JSON" });
  const text = JSON.stringify(value, null, 2) ?? "null";
  const pattern = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    pre.append(text.slice(from, match.index));
    const kind = match[2] ? "k" : match[1] ? "s" : /^[tfn]/.test(match[0]) ? "b" : "n";
    pre.append(h("span", { class: kind }, match[2] ? match[1] : match[0]), match[2] ?? "");
    from = match.index + match[0].length;
  }
  pre.append(text.slice(from));
  return pre;
}

/** Equity in the width of a table cell; the first value is the line to compare with. */
export function sparkline(values, label) {
  const width = 132, height = 30, known = (values ?? []).filter((value) => value !== null);
  if (known.length < 2) return h("span", { class: "soft" }, "–");
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value) => (high === low ? height / 2 : 2 + (height - 4) * (1 - (value - low) / (high - low))).toFixed(1);
  const points = known.map((value, i) => `${((i * width) / (known.length - 1)).toFixed(1)},${y(value)}`).join(" ");
  const kind = known.at(-1) >= known[0] ? "gain" : "loss";
  return s("svg", { class: `spark ${kind}`, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    s("path", { class: "ground", d: `M0 ${y(known[0])}H${width}` }), s("polyline", { points }));
}
