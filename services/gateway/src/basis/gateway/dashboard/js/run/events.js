// Every event of a run: by type, by text, and as the JSON that is on disk.

import { get } from "../api.js";
import { debounce, h, put } from "../dom.js";
import { count, minute, words } from "../format.js";
import { drawer, empty, json, toast, trouble } from "../parts.js";
import { remember } from "../router.js";
import { summary } from "./summaries.js";

const PAGE = 100;
const LEAST = 20; // found before a search pauses

/** Fill a tab with the explorer. */
export function explorer(panel, report, context) {
  const types = Object.keys(report.counts ?? {}).filter((name) => report.counts[name] > 0);
  const chosen = new Set((context.type ?? "").split(",").filter((name) => types.includes(name)));
  const state = { text: context.text ?? "", after: null, shown: 0, turn: 0 };
  const list = h("div", { class: "events-list" });
  const status = h("p", { class: "soft", role: "status" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show more");
  const box = h("div", { class: "card" }, list);

  const chips = types.map((name) => {
    const chip = h("button", { type: "button", class: "small", "aria-pressed": String(chosen.has(name)), "data-type": name, onclick: () => {
      if (!chosen.delete(name)) chosen.add(name);
      chip.setAttribute("aria-pressed", String(chosen.has(name)));
      restart();
    } }, words(name), h("span", { class: "count" }, count(report.counts[name])));
    return chip;
  });

  /** One page more; a search goes on by itself while the server has looked at a part of the log and found nothing. */
  async function load() {
    const turn = state.turn;
    more.disabled = true;
    try {
      let fresh = 0, looked = 0, rest = true;
      while (rest && fresh < LEAST) {
        const found = await get(`results/${report.correlation_id}/events`, { type: [...chosen].join(","), text: state.text, after: state.after, limit: PAGE }, context.signal);
        if (turn !== state.turn) return; // the filter changed meanwhile
        if (state.after === null) put(list);
        list.append(...found.items.map((item) => row(item, report, context)));
        fresh += found.items.length;
        looked += found.scanned;
        state.shown += found.items.length;
        state.after = found.next;
        rest = found.next !== null && found.next !== undefined;
        put(status, `Looked at ${count(looked)} events …`);
      }
      more.hidden = !rest;
      put(status, `${count(state.shown)}${rest ? "+" : ""} events${state.text ? ` with “${state.text}”` : ""}`);
      if (state.shown === 0) put(list, empty("No such event", state.text ? `No event of these types has the text “${state.text}”.` : "There are none of these types."));
    } catch (error) {
      if (error.name !== "AbortError") put(list, trouble(error));
    } finally {
      more.disabled = false;
    }
  }

  function restart() {
    state.turn += 1;
    Object.assign(state, { after: null, shown: 0 });
    remember({ type: [...chosen].join(",") || null, text: state.text || null });
    load();
  }

  panel.append(
    h("div", { class: "stack", role: "search" },
      h("input", { type: "search", "aria-label": "Text in events", placeholder: "Text in an event: an id, a token, a reason …", value: state.text, oninput: debounce((event) => {
        state.text = event.target.value.trim();
        restart();
      }, 300) }),
      h("div", { class: "chips", role: "group", "aria-label": "Types of events" }, chips)),
    status, box, h("div", { class: "row" }, more));
  return load();
}

function row({ type, order, event }, report, context) {
  return h("div", { class: "event", "data-type": type },
    h("span", { class: "soft nowrap" }, minute(event.timestamp)),
    h("button", { type: "button", class: "open", onclick: () => openEvent(type, order, report, context) }, words(type)),
    h("span", { class: "what soft" }, summary(type, event)));
}

const TICK = 1_000_000;

/** The event exactly as on disk. */
async function openEvent(type, order, report, context) {
  const path = `results/${report.correlation_id}/events/${type}/${order}`;
  const { body, dialog } = drawer(words(type));
  put(body, h("div", { class: "skeleton" }));
  try {
    const event = await get(path);
    const tick = Math.floor(order / TICK);
    put(body,
      h("div", { class: "row" }, h("span", { class: "soft" }, `${minute(event.timestamp)} UTC · tick ${count(tick)} · order ${count(order)}`), h("span", { class: "spring" }),
        h("button", { type: "button", class: "small", onclick: () => navigator.clipboard.writeText(JSON.stringify(event)).then(() => toast("Copied."), () => toast("The browser does not allow copying.")) }, "Copy JSON"),
        h("button", { type: "button", class: "small", onclick: () => {
          dialog.close();
          context.showTick(tick);
        } }, "State then")),
      json(event));
  } catch (error) {
    put(body, trouble(error));
  }
}
