// Two runs side by side: figures, configuration, and one chart of what each made of its capital.

import { get } from "../api.js";
import { h, put } from "../dom.js";
import { amount, count, day, exact, isNumber, minute, money, percent, percentAxis, plus, short, tone, words } from "../format.js";
import { Panel } from "../charts/panel.js";
import { Source } from "../charts/source.js";
import { paintZero } from "../charts/painting.js";
import { View } from "../charts/view.js";
import { empty, pill, trouble } from "../parts.js";
import { go } from "../router.js";

const FRACTIONS = new Set(["total_return", "annualized_return", "volatility", "max_drawdown", "hit_rate", "hit_rate_days", "time_in_market", "benchmark_return", "usd_return", "excess_return", "target_apy", "target_max_drawdown"]);
const COLORS = { a: "c-1", b: "c-2" };
const POINTS = 600;

export async function show(main, { signal, parameters }) {
  const [a, b] = [parameters.get("a") ?? "", parameters.get("b") ?? ""];
  const result = h("div", { class: "stack" }, h("div", { class: "skeleton" }));
  const runs = await get("results/", { limit: 100 }, signal).then((found) => found.items, () => []);
  put(main, h("div", { class: "stack" }, h("h1", {}, "Compare two runs"), chooser(runs, a, b), result));
  if (!a || !b) {
    put(result, h("div", { class: "card" }, runs.length < 2 ? empty("Two runs are needed", "There are not yet two runs to compare.", h("a", { class: "button primary", href: "/submit", "data-nav": true }, "New run"))
      : empty("Pick two runs", "Their figures, their configurations and their curves are set side by side.")));
    return;
  }
  try {
    const found = await get("results/compare", { a, b }, signal);
    put(result, heads(found), curves(found, signal), h("div", { class: "two" }, metrics(found), configuration(found)));
  } catch (error) {
    if (error.name !== "AbortError") put(result, trouble(error));
  }
}

function chooser(runs, a, b) {
  const pick = (side, chosen) => {
    const known = runs.some((run) => run.correlation_id === chosen);
    return h("select", { "aria-label": `Run ${side.toUpperCase()}`, onchange: (event) => go(`/compare?${new URLSearchParams({ a, b, [side]: event.target.value })}`) },
      h("option", { value: "" }, `Run ${side.toUpperCase()} …`), !known && chosen ? h("option", { value: chosen, selected: true }, short(chosen)) : null,
      runs.map((run) => h("option", { value: run.correlation_id, selected: run.correlation_id === chosen }, `${run.strategy} · ${short(run.correlation_id)} · ${run.started_at ? minute(run.started_at) : "queued"}`)));
  };
  return h("div", { class: "row pair" }, pick("a", a), h("span", { class: "soft" }, "with"), pick("b", b));
}

function heads(found) {
  const one = (side) => {
    const run = found[side];
    return h("section", { class: "card pad", style: { "--side": `var(--${COLORS[side]})` } },
      h("h2", {}, h("span", { class: "side" }, side.toUpperCase()), h("a", { href: `/runs/${run.correlation_id}`, "data-nav": true }, run.strategy), pill(run.status)),
      h("p", { class: "soft" }, `${run.start ? `${day(run.start)} – ${day(run.end)}` : "–"} · ${count(run.ticks)} ticks`),
      h("p", {}, h("strong", {}, isNumber(run.final_value) ? `${money(run.final_value, run.share_class)} ${run.share_class}` : "–"), " ", h("span", { class: tone(run.total_return) }, plus(run.total_return, percent(run.total_return)))));
  };
  return h("div", { class: "stack" },
    h("div", { class: "notice", "data-kind": found.same_events ? "good" : "none" }, h("strong", {}, found.same_events ? "The same events, byte for byte" : "Different events"),
      h("span", { class: "soft" }, found.same_events ? "Both runs have one event hash." : "Their event hashes differ.")),
    h("div", { class: "versus" }, one("a"), one("b")));
}

/** Both equities as a return on their own capital, over the same times. */
function curves(found, signal) {
  const host = h("section", { class: "card" }, h("div", { class: "skeleton" }));
  draw(host, found, signal).catch((error) => error.name !== "AbortError" && put(host, trouble(error)));
  return host;
}

async function draw(host, found, signal) {
  const [a, b] = await Promise.all(["a", "b"].map((side) => get(`results/${found[side].correlation_id}/curves`, { columns: "pnl,capital", points: POINTS }, signal)));
  const merged = merge(a, b);
  if (merged.ticks.length < 2) {
    put(host, empty("Nothing to draw", "One of the runs has no ticks."));
    return;
  }
  const view = new View(merged.ticks.length);
  view.learn(merged.ticks, merged.times);
  const source = new Source("", ["a", "b"], view, signal);
  source.load = async () => source.dispatchEvent(new Event("data")); // all of it is here
  source.take(merged);
  const panel = new Panel({ title: "Return on the capital put in", height: 280, source, view, signal, read: (value) => plus(value, percent(value)), axisText: percentAxis, draw: paintZero,
    series: ["a", "b"].map((side) => ({ name: side, label: `${side.toUpperCase()}  ${found[side].strategy}`, color: COLORS[side], width: 1.8 })) });
  put(host, panel.element);
}

/** One axis of times for both: each run's value is its last one at or before; nothing before its start and after its end. */
function merge(a, b) {
  const times = [...new Set([...a.times, ...b.times])].sort((x, y) => x - y);
  const column = (curve) => {
    let i = -1;
    return times.map((time) => {
      while (i + 1 < curve.times.length && curve.times[i + 1] <= time) i += 1;
      if (i < 0 || time > curve.times.at(-1)) return null;
      const [pnl, capital] = [curve.columns.pnl[i], curve.columns.capital[i]];
      return isNumber(pnl) && capital > 0 ? pnl / capital : null;
    });
  };
  return { columns: { a: column(a), b: column(b) }, ticks: times.map((_, i) => i), times, method: "m4" };
}

function metrics(found) {
  const rows = Object.entries(found.metrics).filter(([, { a, b }]) => [a, b].some((value) => isNumber(value) && value !== 0)); // nothing in both is nothing to compare
  const text = (name, value) => (!isNumber(value) ? "–" : FRACTIONS.has(name) ? percent(value, 3) : Number.isInteger(value) ? count(value) : amount(value));
  return h("section", { class: "card pad stack" }, h("h2", {}, "Figures"), h("div", { class: "scroll" }, h("table", { class: "dense" },
    h("thead", {}, h("tr", {}, h("th", {}, "Figure"), h("th", { class: "num" }, "A"), h("th", { class: "num" }, "B"), h("th", { class: "num" }, "B − A"))),
    h("tbody", {}, rows.map(([name, one]) => h("tr", {}, h("td", {}, words(name).replace(".", ": ")), h("td", { class: "num" }, text(name, one.a)), h("td", { class: "num" }, text(name, one.b)),
      h("td", { class: "num" }, plus(one.difference, text(name, one.difference)))))))));
}

function configuration(found) {
  const rows = Object.entries(found.config);
  const text = (value) => (value === null || value === undefined ? "–" : isNumber(value) ? exact(value) : typeof value === "object" ? JSON.stringify(value) : String(value));
  return h("section", { class: "card pad stack" }, h("h2", {}, "Configuration"), rows.length === 0 ? h("p", { class: "soft" }, "Both have the same configuration.") :
    h("div", { class: "scroll" }, h("table", { class: "dense tree" }, h("thead", {}, h("tr", {}, h("th", {}, `${count(rows.length)} values differ`), h("th", { class: "num" }, "A"), h("th", { class: "num" }, "B"))),
      h("tbody", {}, rows.map(([path, one]) => h("tr", {}, h("td", { class: "mono" }, path), h("td", { class: "mono num" }, text(one.a)), h("td", { class: "mono num" }, text(one.b))))))));
}
