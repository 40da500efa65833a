// The curves of a run and the state at the cursor.

import { get } from "../api.js";
import { debounce, h, put } from "../dom.js";
import { amount, count, day, minute, money, percent, percentAxis, venue, words } from "../format.js";
import { Panel } from "../charts/panel.js";
import { paintOrders, paintStack, paintTriggers, paintZero, stack } from "../charts/painting.js";
import { Source } from "../charts/source.js";
import { View } from "../charts/view.js";
import { cursorKey } from "../charts/gestures.js";
import { empty, iconButton, trouble } from "../parts.js";
import { remember } from "../router.js";
import { statePanel } from "./state.js";

const ORDER_MARKS = 500;
const MARKS_AFTER_MS = 700; // the curves come first

/** Charts and state panel; `view` is null where there is nothing to draw yet. */
export function overview(report, curves, { signal, tick, charts }) {
  const element = h("div", { class: "overview" });
  if (curves === null) {
    element.append(h("div", { class: "card whole" }, empty("Nothing to draw yet", report.status === "failed" ? "The run failed before its first tick." : "Curves appear after the first ticks of the run.")));
    return { element, view: null, grow: null };
  }
  const view = new View(curves.total_ticks);
  view.learn(curves.ticks, curves.times);
  if (tick !== null && /^\d+$/.test(tick)) view.cursor = Math.min(Number(tick), view.total - 1);
  const equity = new Source(report.correlation_id, ["equity", "capital", "drawdown"], view, signal);
  equity.take(curves);
  const marks = [];
  const context = { report, view, equity, signal, marks };
  const [first, second] = [equityPanel(context), drawdownPanel(context)];
  const rest = h("div", { class: "rest" });
  element.append(h("div", { class: "lead card" }, toolbar(view, equity), reachable(first, view), second.element), statePanel(report, view, signal), rest);
  charts.then((found) => draw(rest, context, found), (error) => error.name !== "AbortError" && put(rest, trouble(error)));
  view.addEventListener("cursor", debounce(() => remember({ tick: view.cursor === view.total - 1 ? null : view.cursor }), 400), { signal });
  setTimeout(() => signal.aborted || loadMarks(report, marks, first, signal), MARKS_AFTER_MS);
  return { element, view, grow: () => grow(report, view, equity, signal) };
}

/** The charts that the server finds worth drawing for this run. */
function draw(rest, context, charts) {
  const columns = Object.fromEntries(charts.map((chart) => [chart.name, chart.columns]));
  const panels = [attributionPanel, exposurePanel, healthPanel, ltvPanel, marginPanel].map((make) => make(context, columns));
  put(rest, panels.filter(Boolean).map((panel) => h("div", { class: "card" }, panel.element)));
}

/** Take the curves of a run anew that has gone on meanwhile. */
async function grow(report, view, equity, signal) {
  const [atEnd, whole] = [view.cursor === view.total - 1, view.whole];
  const found = await get(`results/${report.correlation_id}/curves`, { columns: equity.columns.join(","), points: 800 }, signal);
  if (found.total_ticks <= view.total) return;
  view.total = found.total_ticks;
  view.learn(found.ticks, found.times);
  if (whole) {
    equity.take(found);
    view.setRange(0, view.total - 1);
  }
  if (atEnd) view.setCursor(view.total - 1);
}

/** The equity chart is the slider of the whole page: focus it and use the arrow keys. */
function reachable(panel, view) {
  const slider = panel.host;
  for (const [name, value] of Object.entries({ tabindex: "0", role: "slider", "aria-label": "Cursor over the run: arrow keys move it a tick, with Shift a hundredth of the range, plus and minus zoom", "aria-valuemin": "0", "aria-valuemax": String(view.total - 1) })) slider.setAttribute(name, value);
  const say = () => {
    slider.setAttribute("aria-valuenow", String(view.cursor));
    slider.setAttribute("aria-valuemax", String(view.total - 1));
    slider.setAttribute("aria-valuetext", `tick ${view.cursor}, ${minute(view.timeOf(view.cursor))}`);
  };
  view.addEventListener("cursor", say, { signal: panel.signal });
  slider.addEventListener("keydown", (event) => cursorKey(event, view), { signal: panel.signal });
  say();
  return panel.element;
}

function toolbar(view, source) {
  const shown = h("span", { class: "soft range-text", role: "status" });
  const modes = ["cursor", "zoom"].map((mode) => h("button", { type: "button", class: "small", "aria-pressed": String(view.drag === mode), onclick: () => {
    view.drag = mode;
    for (const button of modes) button.setAttribute("aria-pressed", String(button.textContent === words(mode)));
  } }, words(mode)));
  const whole = iconButton("whole", "Whole run (0)", () => view.reset());
  const say = () => {
    const resolution = source.data?.method === "raw" ? "every tick" : `${count(source.data?.ticks.length ?? 0)} points of ${count(view.last - view.first + 1)} ticks`;
    put(shown, `${day(view.timeOf(view.first))} – ${day(view.timeOf(view.last))} · ${resolution}`);
    whole.disabled = view.whole;
  };
  view.addEventListener("range", say, { signal: source.signal });
  source.addEventListener("data", say, { signal: source.signal });
  say();
  return h("div", { class: "row toolbar" }, shown, h("span", { class: "spring" }),
    h("div", { class: "row segmented", role: "group", "aria-label": "Dragging in a chart" }, h("span", { class: "help" }, "Drag moves"), modes),
    iconButton("minus", "Zoom out (−)", () => view.zoom(2)), iconButton("plus", "Zoom in (+)", () => view.zoom(0.5)), whole);
}

async function loadMarks(report, marks, panel, signal) {
  if (!report.counts?.orders) return;
  try {
    const found = await get(`results/${report.correlation_id}/orders`, { limit: ORDER_MARKS }, signal);
    marks.push(...new Set(found.items.map((item) => item.tick)));
    panel.plot?.redraw(false);
  } catch {
    // marks are an extra: the orders tab says what went wrong
  }
}

function equityPanel({ report, view, equity, signal, marks }) {
  const unit = report.share_class;
  return new Panel({ title: "Equity", unit, height: 270, source: equity, view, signal, read: (value) => money(value, unit),
    series: [
      { name: "equity", label: "Equity", color: "accent", width: 1.9, fill: true, fillTo: (u) => u.scales.y.min },
      { name: "capital", label: "Capital put in", color: "faint", width: 1.2, dash: true, stepped: true, aside: true },
    ],
    draw: (u) => paintOrders(u, view, marks) });
}

function drawdownPanel({ view, equity, signal }) {
  return new Panel({ title: "Drawdown", height: 92, bare: true, source: equity, view, signal, read: (value) => percent(-Math.abs(value), 3), ceiling: 0,
    axisText: percentAxis, range: (low) => [Math.min(low, -1e-4), 0],
    series: [{ name: "drawdown", label: "below the highest so far", color: "loss", width: 1.2, fill: true, fillTo: 0 }] });
}

function attributionPanel({ report, view, signal }, { attribution }) {
  if (!attribution?.length) return null;
  const unit = report.share_class;
  const series = attribution.map((name) => {
    const cause = name.slice("attribution.".length);
    return { name, label: words(cause), color: `c-${cause}` };
  });
  return new Panel({ title: "Where the PnL comes from", unit, height: 240, view, signal, series, stacked: stack, read: (value) => money(value, unit),
    source: new Source(report.correlation_id, attribution, view, signal),
    under: paintStack, draw: paintZero, range: (low, high) => [Math.min(0, low), Math.max(0, high)],
    note: "Cumulative, stacked: gains above zero, costs below. The line is their sum, the total PnL." });
}

function exposurePanel({ report, view, signal }, { exposure = [], net_delta: delta = [] }) {
  if (exposure.length + delta.length === 0) return null;
  const series = [
    ...exposure.map((name, i) => ({ name, label: name.slice("exposure.".length), color: `c-${(i % 8) + 1}`, width: 1.4 })),
    ...delta.map((name) => ({ name, label: "Net delta", color: "ink", width: 1.8, dash: true })),
  ];
  const limits = report.triggers?.net_delta;
  const watched = limits && report.config?.share_class?.market_neutral && report.config?.strategy?.family !== "directional";
  return new Panel({ title: "Exposure and net delta", unit: "USD", view, signal, series, draw: paintZero,
    read: (value) => amount(value, 0), range: (low, high) => [Math.min(0, low), Math.max(0, high)],
    source: new Source(report.correlation_id, series.map((one) => one.name), view, signal),
    note: watched ? `Net delta warns at ${percent(limits.warn, 1)} of equity and breaches at ${percent(limits.breach, 1)}.` : null });
}

const triggersOf = (limits, read) => (limits ? [["warn", "warning"], ["breach", "breach"]]
  .filter(([key]) => typeof limits[key] === "number")
  .map(([key, name]) => ({ value: limits[key], label: `${name} ${read(limits[key])}`, color: key === "warn" ? "warn" : "bad", grave: key === "breach" })) : []);

function riskPanel(context, title, series, limits, read, more = {}) {
  const { report, view, signal } = context;
  return new Panel({ title, view, signal, series, read, triggers: triggersOf(limits, read), draw: paintTriggers, axisText: more.axisText,
    source: new Source(report.correlation_id, series.map((one) => one.name), view, signal), ...more });
}

const HIGHEST_HF = 6;

function healthPanel(context, { health_factor: columns }) {
  if (!columns) return null;
  return riskPanel(context, "Health factor", [{ name: "health_factor", label: "Aave v3", color: "c-1" }], context.report.triggers?.health_factor,
    (value) => amount(value, 3), { range: (low, high) => [Math.min(low, HIGHEST_HF), Math.min(high, HIGHEST_HF)], note: "Liquidation below 1." });
}

function ltvPanel(context, { ltv: columns }) {
  if (!columns) return null;
  return riskPanel(context, "Loan to value", [{ name: "ltv", label: "Debt over collateral", color: "c-2" }], context.report.triggers?.ltv,
    (value) => percent(value, 1), { height: 150, axisText: percentAxis });
}

function marginPanel(context, { margin_ratio: columns }) {
  if (!columns) return null;
  const series = columns.map((name, i) => ({ name, label: venue(name.slice("margin_ratio.".length)), color: `c-${(i % 8) + 1}` }));
  return riskPanel(context, "Margin ratio by venue", series, context.report.triggers?.margin_ratio, (value) => percent(value, 1), { axisText: percentAxis });
}
