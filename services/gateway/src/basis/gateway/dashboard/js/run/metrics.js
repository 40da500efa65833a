// All figures of a run, what it cost, and where its PnL comes from.

import { h } from "../dom.js";
import { amount, count, day, exact, isNumber, money, percent, plus, tone, venue, words } from "../format.js";

const FRACTIONS = new Set(["total_return", "annualized_return", "volatility", "max_drawdown", "hit_rate", "hit_rate_days", "time_in_market", "benchmark_return", "usd_return", "excess_return", "target_apy", "target_max_drawdown"]);

/** Fill a tab with them. */
export function metrics(panel, report) {
  const unit = report.share_class;
  panel.append(h("div", { class: "two" },
    card("Metrics", "with the run's own period length", facts(Object.entries(report.metrics ?? {}).map(([name, value]) => [words(name), metric(name, value)]))),
    h("div", { class: "stack" },
      card("Attribution", `${unit}; closes to ${exact(report.attribution_gap)}`, bars(report.attribution, unit)),
      card("Costs", unit, costs(report.costs, unit)),
      isNumber(report.funding) && report.funding !== 0 ? card("Funding", null, facts([["Received, negative where paid", `${money(report.funding, unit)} ${unit}`]])) : null,
      card("Orders by type", null, facts(Object.entries(report.orders_by_type ?? {}).map(([name, value]) => [words(name), typeof value === "object" ? JSON.stringify(value) : count(value)]))),
      card("Events", null, facts(Object.entries(report.counts ?? {}).map(([name, value]) => [words(name), count(value)]))))));
}

function metric(name, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? day(value) : value;
  return FRACTIONS.has(name) ? percent(value, 2) : amount(value, Number.isInteger(value) ? 0 : 2);
}

const card = (title, note, ...children) => h("section", { class: "card pad stack" }, h("div", { class: "row" }, h("h2", {}, title), note ? h("span", { class: "help" }, note) : null), children);

const facts = (rows) => (rows.length ? h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])) : h("p", { class: "soft" }, "None."));

/** Parts of the PnL as bars about a common zero. */
function bars(parts, unit) {
  const rows = Object.entries(parts ?? {}).filter(([, value]) => isNumber(value) && value !== 0);
  if (rows.length === 0) return h("p", { class: "soft" }, "Nothing was gained and nothing lost.");
  const low = Math.min(0, ...rows.map(([, value]) => value));
  const span = Math.max(0, ...rows.map(([, value]) => value)) - low || 1;
  return h("div", { class: "bars" }, rows.map(([cause, value]) => [
    h("span", {}, words(cause)),
    h("div", { class: "track" }, h("div", { style: { "--swatch": `var(--c-${cause})`, left: `${((Math.min(0, value) - low) / span) * 100}%`, width: `${(Math.abs(value) / span) * 100}%` } })),
    h("span", { class: `num ${tone(value)}` }, plus(value, money(value, unit))),
  ]));
}

/** Each kind, and below it who was paid. */
function costs(found, unit) {
  const kinds = Object.entries(found ?? {}).filter(([name, value]) => isNumber(value) && name !== "total");
  if (kinds.every(([, value]) => value === 0)) return h("p", { class: "soft" }, "Nothing was paid.");
  const rows = kinds.flatMap(([kind, value]) => {
    const paid = Object.entries(found.by_venue?.[kind] ?? {}).filter(([, one]) => one !== 0);
    return [[h("strong", {}, words(kind)), money(value, unit)], ...(paid.length > 1 ? paid.map(([who, one]) => [`  ${venue(who)}`, money(one, unit)]) : [])];
  });
  return facts([...rows, ["Total", h("strong", {}, money(found.total, unit))]]);
}
