// The list of runs: filter, page through, follow what runs, pick two to compare.

import { get } from "../api.js";
import { debounce, h, put } from "../dom.js";
import { ago, amount, count, day, isNumber, minute, money, percent, plus, short, tone } from "../format.js";
import { empty, pill, sparkline, trouble } from "../parts.js";
import { go, remember } from "../router.js";

const PAGE = 25;
const LOOK_EVERY_MS = 2000;
const LOOK_SELDOM_MS = 8000;
const STATUSES = ["queued", "running", "completed", "failed", "cancelled"];

export async function show(main, { signal, parameters }) {
  const state = { status: parameters.get("status") ?? "", strategy: parameters.get("strategy") ?? "", text: parameters.get("text") ?? "", trail: [], picked: new Map() };
  const list = h("div", {}, h("div", { class: "skeleton" }));
  const total = h("span", { class: "soft" });
  const compare = h("button", { type: "button", disabled: true, onclick: () => go(`/compare?a=${[...state.picked.keys()].join("&b=")}`) }, "Compare");
  const pager = h("div", { class: "row pager", hidden: true });
  let timer = 0, drawn = "";

  async function load() {
    clearTimeout(timer);
    try {
      const found = await get("results/", { limit: PAGE, after: state.trail.at(-1), status: state.status, strategy: state.strategy, text: state.text }, signal);
      const text = JSON.stringify(found);
      if (text !== drawn) draw(found); // what has not changed keeps its focus
      drawn = text;
      const moving = found.items.some((run) => run.status === "running" || run.status === "queued");
      timer = setTimeout(again, moving ? LOOK_EVERY_MS : LOOK_SELDOM_MS);
    } catch (error) {
      if (error.name === "AbortError") return;
      drawn = "";
      put(list, trouble(error));
      timer = setTimeout(again, LOOK_SELDOM_MS);
    }
  }

  /** Look again, but not in a page that nobody sees. */
  function again() {
    if (document.hidden) timer = setTimeout(again, LOOK_EVERY_MS);
    else load();
  }
  signal.addEventListener("abort", () => clearTimeout(timer));

  function draw(found) {
    const filtered = state.status || state.strategy || state.text;
    put(total, found.total === 1 ? "1 run" : `${count(found.total)} runs`);
    if (found.items.length === 0) put(list, h("div", { class: "card" }, filtered ? nothing() : first()));
    else put(list, h("div", { class: "card scroll" }, table(found.items, state.picked, picked)));
    pager.hidden = state.trail.length === 0 && !found.next;
    put(pager,
      h("button", { type: "button", disabled: state.trail.length === 0, onclick: () => turn(() => state.trail.pop()) }, "Newer"),
      h("button", { type: "button", disabled: !found.next, onclick: () => turn(() => state.trail.push(found.next)) }, "Older"),
      h("span", { class: "soft" }, `Page ${state.trail.length + 1}`));
  }

  function turn(change) {
    change();
    load();
    scrollTo(0, 0);
  }

  function picked(run, on) {
    if (on) state.picked.set(run.correlation_id, run);
    else state.picked.delete(run.correlation_id);
    while (state.picked.size > 2) {
      const [oldest] = state.picked.keys();
      state.picked.delete(oldest);
      list.querySelector(`input[value="${oldest}"]`)?.click();
    }
    compare.disabled = state.picked.size !== 2;
    put(compare, state.picked.size === 1 ? "Pick one more" : "Compare");
  }

  function nothing() {
    return empty("No run fits", "No run has this status, strategy and text.", h("button", { type: "button", onclick: () => {
      for (const field of filters.querySelectorAll("input, select")) field.value = "";
      set({ status: "", strategy: "", text: "" });
    } }, "Show all"));
  }

  function set(changes) {
    Object.assign(state, changes, { trail: [] });
    remember(changes);
    load();
  }

  const strategies = h("select", { "aria-label": "Strategy", onchange: (event) => set({ strategy: event.target.value }) }, h("option", { value: "" }, "All strategies"));
  const filters = h("div", { class: "row filters", role: "search" },
    h("input", { type: "search", "aria-label": "Find a run", placeholder: "Find by id, strategy, error …", value: state.text,
      oninput: debounce((event) => set({ text: event.target.value.trim() }), 250) }),
    h("select", { "aria-label": "Status", value: state.status, onchange: (event) => set({ status: event.target.value }) },
      h("option", { value: "" }, "Every status"), STATUSES.map((one) => h("option", { value: one, selected: one === state.status }, one))),
    strategies);

  put(main, h("div", { class: "stack" },
    h("div", { class: "row" }, h("h1", {}, "Runs"), total, h("span", { class: "spring" }), compare, h("a", { class: "button primary", href: "/submit", "data-nav": true }, "New run")),
    filters, list, pager));
  await load();
  const modes = await get("strategies/", {}, signal).catch(() => []);
  strategies.append(...modes.map((one) => h("option", { value: one.mode, selected: one.mode === state.strategy }, one.mode)));
}

function first() {
  return empty("No runs yet", "Start one here, or with make backtest in the shell: every run below the logs folder appears by itself.",
    h("a", { class: "button primary", href: "/submit", "data-nav": true }, "Start a run"));
}

function table(runs, chosen, picked) {
  return h("table", { class: "runs" },
    h("thead", {}, h("tr", {}, h("th", {}, h("span", { class: "visually-hidden" }, "Compare")), h("th", {}, "Strategy"), h("th", {}, "Status"), h("th", { class: "spark-col" }, "Equity"),
      h("th", { class: "num" }, "Final value"), h("th", { class: "num" }, "Return"), h("th", { class: "num", "data-name": "A year" }, "a year"), h("th", { class: "num" }, "Max drawdown"), h("th", { class: "num", "data-name": "Sharpe" }, "Sharpe"),
      h("th", {}, "Period"), h("th", {}, "Started"))),
    h("tbody", {}, runs.map((run) => row(run, chosen, picked))));
}

function row(run, chosen, picked) {
  const id = run.correlation_id;
  const moving = run.status === "running" || run.status === "queued";
  return h("tr", { "data-status": run.status },
    h("td", { class: "pick" }, h("input", { type: "checkbox", value: id, checked: chosen.has(id), "aria-label": `Compare run ${short(id)}`, onchange: (event) => picked(run, event.target.checked) })),
    h("td", { class: "name" }, h("a", { class: "run-link", href: `/runs/${id}`, "data-nav": true }, run.strategy), h("div", { class: "help mono" }, short(id))),
    h("td", { class: "state" }, pill(run.status), moving ? h("div", { class: "meter small", role: "progressbar", "aria-valuenow": Math.round((run.progress ?? 0) * 100), "aria-label": "Progress" }, h("div", { style: { width: `${(run.progress ?? 0) * 100}%` } })) : null,
      run.error_code ? h("div", { class: "help", title: run.error }, run.error_code) : null),
    h("td", { class: "spark-col" }, sparkline(run.sparkline, `Equity of run ${short(id)}`)),
    cell("Final value", isNumber(run.final_value) ? [money(run.final_value, run.share_class), h("span", { class: "unit" }, ` ${run.share_class ?? ""}`)] : "–"),
    cell("Return", plus(run.total_return, percent(run.total_return)), tone(run.total_return)),
    cell("A year", plus(run.annualized_return, percent(run.annualized_return))),
    cell("Max drawdown", percent(isNumber(run.max_drawdown) ? -Math.abs(run.max_drawdown) : null)),
    cell("Sharpe", isNumber(run.sharpe) ? amount(run.sharpe, 2) : "–"),
    h("td", { class: "nowrap period" }, run.start ? `${day(run.start)} – ${day(run.end)}` : "–", run.synthetic ? h("div", { class: "help" }, "synthetic data") : null),
    h("td", { class: "nowrap soft when", title: run.started_at ? `${minute(run.started_at)} UTC` : "" }, run.started_at ? ago(run.started_at) : "waiting"));
}

const cell = (name, value, kind = "") => h("td", { class: `num ${kind}`, "data-name": name }, value);
