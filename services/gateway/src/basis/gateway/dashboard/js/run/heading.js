// Top of a run's page: what it is, what can be done with it, what it came to.

import { API, download, hasKey, remove } from "../api.js";
import { h } from "../dom.js";
import { amount, count, day, duration, isNumber, minute, money, percent, plus, short, tone } from "../format.js";
import { confirm, pill, toast } from "../parts.js";
import { go } from "../router.js";

/** Name, status and actions. */
export function heading(report, { again, moving }) {
  const id = report.correlation_id;
  const facts = [
    report.start ? `${day(report.start)} – ${day(report.end)}` : null,
    `${count(report.ticks)} ticks`,
    report.started_at ? `started ${minute(report.started_at)} UTC` : null,
    report.started_at && report.ended_at ? `took ${duration((new Date(report.ended_at) - new Date(report.started_at)) / 1000)}` : null,
  ].filter(Boolean);
  return h("div", { class: "run-head" },
    h("div", {},
      h("div", { class: "row" }, h("h1", {}, report.strategy), pill(report.status), report.synthetic ? h("span", { class: "tag", title: "The data is made up: figures show the machinery, not a market" }, "synthetic data") : null),
      h("p", { class: "soft" }, facts.join(" · ")),
      h("button", { type: "button", class: "id mono", title: "Copy the run's id", onclick: () => copy(id) }, id)),
    h("div", { class: "row actions" },
      moving ? h("button", { type: "button", class: "danger", onclick: () => cancel(id) }, "Cancel run") : null,
      h("a", { class: "button", href: `/compare?a=${id}`, "data-nav": true }, "Compare"),
      h("a", { class: "button", href: `/submit?from=${id}`, "data-nav": true }, "Run again"),
      moving ? null : file(`results/${id}/export`, `${short(id)}.zip`, "Export"),
      moving ? null : file(`results/${id}/tearsheet`, `${report.strategy}-${short(id)}.html`, "Tearsheet"),
      moving ? null : h("button", { type: "button", class: "quiet danger", onclick: () => drop(id) }, "Delete")));

  async function cancel(run) {
    try {
      await remove(`backtest/${run}`);
      toast("Told the engine to stop.");
    } catch (error) {
      toast(error.message);
      again();
    }
  }
}

async function drop(id) {
  if (!(await confirm("Delete this run?", "Its log, its results and its seal are removed from the disk for good.", "Delete it"))) return;
  try {
    await remove(`results/${id}`);
    toast("Deleted.");
    go("/");
  } catch (error) {
    toast(error.message);
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast(text);
  }
}

function file(path, name, label) {
  if (!hasKey()) return h("a", { class: "button", href: `${API}/${path}`, target: path.endsWith("export") ? null : "_blank", rel: "noopener" }, label);
  return h("button", { type: "button", onclick: () => download(path, name).catch((error) => toast(error.message)) }, label);
}

/** The figures that one looks for first. */
export function stats(report) {
  const unit = report.share_class ?? "";
  const [metrics, costs] = [report.metrics ?? {}, report.costs ?? {}];
  const paid = ["fees", "gas", "slippage"].map((kind) => costs?.[kind]).filter(isNumber).reduce((total, one) => total + one, 0);
  const drawdown = metrics.max_drawdown ?? report.max_drawdown;
  const annual = metrics.annualized_return ?? report.annualized_return;
  const target = report.target_apy;
  return h("dl", { class: "stats card" },
    stat("Final value", money(report.final_value, unit), unit, `from ${money(report.initial_capital, unit)}`),
    stat("Total return", plus(report.total_return, percent(report.total_return)), "", null, tone(report.total_return)),
    stat("Annualised", plus(annual, percent(annual)), "", isNumber(target) ? `target ${percent(target, 1)}${isNumber(annual) ? (annual >= target ? ", met" : ", missed") : ""}` : null),
    stat("Max drawdown", percent(isNumber(drawdown) ? -Math.abs(drawdown) : null), "", metrics.max_drawdown_trough ? day(metrics.max_drawdown_trough) : null),
    stat("Sharpe", isNumber(metrics.sharpe) ? amount(metrics.sharpe, 2) : "–", "", isNumber(metrics.volatility) ? `volatility ${percent(metrics.volatility, 1)}` : null),
    stat("Costs", money(paid, unit), unit, isNumber(report.initial_capital) && report.initial_capital > 0 ? `${percent(paid / report.initial_capital)} of capital` : null),
    stat("Orders", count(report.counts?.orders ?? 0), "", report.failed_orders ? `${count(report.failed_orders)} failed` : "none failed"));
}

function stat(name, value, unit, note, kind = "") {
  return h("div", {}, h("dt", {}, name), h("dd", { class: kind }, value, unit && value !== "–" ? h("span", { class: "unit" }, ` ${unit}`) : null), note ? h("dd", { class: "note" }, note) : null);
}
