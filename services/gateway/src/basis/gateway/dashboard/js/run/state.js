// The state at the cursor: when, what is held, what was decided, and where the orders are.

import { get } from "../api.js";
import { h, put } from "../dom.js";
import { amount, count, instrument, isNumber, minute, money, percent, plus, tone, venue, words } from "../format.js";
import { iconButton, pill } from "../parts.js";

/** Panel that follows the view's cursor; asks the server for one tick at a time, the newest one. */
export function statePanel(report, view, signal) {
  const id = report.correlation_id;
  const time = h("div", { class: "moment" });
  const body = h("div", { class: "stack state-body", "aria-live": "off" }, h("div", { class: "skeleton" }));
  const input = h("input", { type: "number", min: 0, max: view.total - 1, step: 1, "aria-label": "Tick", onchange: () => view.setCursor(Number(input.value)) });
  const range = h("input", { type: "range", class: "scrubber", min: 0, max: view.total - 1, step: 1, "aria-label": "Cursor", oninput: () => view.setCursor(Number(range.value)) });
  const jump = { last: null, next: null };
  const before = iconButton("first", "Order before", () => jump.last !== null && view.setCursor(jump.last));
  const after = iconButton("last", "Order after", () => jump.next !== null && view.setCursor(jump.next));
  let wanted = null, busy = false;

  function moved() {
    const tick = view.cursor;
    for (const field of [input, range]) {
      field.max = view.total - 1;
      if (document.activeElement !== field || Number(field.value) !== tick) field.value = tick;
    }
    put(time, minute(view.timeOf(tick)), h("span", { class: "soft" }, " UTC"));
    range.setAttribute("aria-valuetext", `tick ${tick}, ${minute(view.timeOf(tick))}`);
    wanted = tick;
    if (!busy) ask();
  }

  async function ask() {
    busy = true;
    while (wanted !== null && !signal.aborted) {
      const tick = wanted;
      wanted = null;
      try {
        const found = await get(`results/${id}/at`, { tick }, signal);
        if (wanted === null || wanted !== tick) show(found);
      } catch (error) {
        if (error.name === "AbortError") break;
        put(body, h("p", { class: "fault" }, error.message));
      }
    }
    busy = false;
  }

  function show(found) {
    put(time, minute(found.timestamp), h("span", { class: "soft" }, " UTC"));
    jump.last = found.last_order_tick ?? null;
    jump.next = found.next_order_tick ?? null;
    before.disabled = jump.last === null;
    after.disabled = jump.next === null;
    put(body, figures(found, report), positions(found, report), decision(found));
    body.dataset.tick = found.tick;
  }

  view.addEventListener("cursor", moved, { signal });
  const panel = h("section", { class: "card state", "aria-label": "State at the cursor" },
    h("div", { class: "state-head" }, time,
      h("div", { class: "row steps" }, before, iconButton("left", "Tick before", () => view.setCursor(view.cursor - 1)),
        h("label", { class: "tick" }, h("span", { class: "help" }, "Tick"), input), h("span", { class: "help nowrap" }, `of ${count(view.total - 1)}`),
        iconButton("right", "Tick after", () => view.setCursor(view.cursor + 1)), after),
      range),
    body);
  queueMicrotask(moved);
  return panel;
}

function figures(found, report) {
  const { exposure, risk, pnl } = found;
  const unit = report.share_class;
  const margins = Object.entries(risk?.metadata?.margin_ratio ?? {}).filter(([, value]) => isNumber(value));
  const rows = [
    ["Equity", exposure ? `${money(exposure.share_class_value, unit)} ${unit}` : "–"],
    ["PnL", pnl ? plus(pnl.total_pnl, money(pnl.total_pnl, unit)) : "–", tone(pnl?.total_pnl)],
    ["Net delta", exposure ? `${amount(exposure.net_delta_usd, 0)} USD` : "–"],
    isNumber(risk?.health_factor) ? ["Health factor", amount(risk.health_factor, 4)] : null,
    isNumber(risk?.ltv_ratio) && risk.ltv_ratio > 0 ? ["Loan to value", percent(risk.ltv_ratio)] : null,
    ...margins.map(([name, value]) => [`Margin ${venue(name)}`, percent(value, 1)]),
  ].filter(Boolean);
  const warnings = [...(risk?.breaches ?? []), ...(risk?.warnings ?? [])];
  return h("div", {}, h("dl", { class: "facts" }, rows.map(([name, value, kind]) => [h("dt", {}, name), h("dd", { class: kind || null }, value)]),
    risk ? [h("dt", {}, "Risk"), h("dd", {}, pill(LEVELS[risk.risk_level] ?? "warn", words(risk.risk_level)))] : null),
    warnings.length ? h("p", { class: "fault" }, warnings.map(words).join(", ")) : null);
}

const LEVELS = { low: "good", medium: "warn", high: "warn", critical: "bad" };

function positions(found, report) {
  const unit = report.share_class;
  const held = found.positions.filter((one) => one.quantity !== 0);
  const valued = held.some((one) => isNumber(one.value_share_class));
  if (held.length === 0) return h("p", { class: "soft" }, "Nothing is held at this tick.");
  return h("div", { class: "scroll" }, h("table", { class: "dense positions" },
    h("thead", {}, h("tr", {}, h("th", {}, "Position"), h("th", { class: "num" }, "Quantity"), valued ? h("th", { class: "num" }, unit) : null)),
    h("tbody", {}, held.map((one) => {
      const { venue: where, type, token } = instrument(one.instrument_key);
      return h("tr", { title: one.instrument_key }, h("td", {}, h("strong", {}, token), h("div", { class: "help" }, `${venue(where)} · ${TYPES[type] ?? type}`)),
        h("td", { class: "num" }, amount(one.quantity)), valued ? h("td", { class: "num" }, isNumber(one.value_share_class) ? money(one.value_share_class, unit) : "–") : null);
    }))));
}

const TYPES = { BaseToken: "balance", aToken: "supplied, scaled", debtToken: "debt, scaled", LST: "staked", Perp: "perpetual" };

function decision({ decision: made }) {
  if (!made) return null;
  return h("div", { class: "decision" }, h("div", { class: "row" }, h("h3", {}, "Decision"), h("span", { class: "tag" }, words(made.action_taken ?? made.decision_type)),
    made.orders_generated ? h("span", { class: "soft" }, made.orders_generated === 1 ? "1 order" : `${count(made.orders_generated)} orders`) : null), h("p", { class: "soft" }, made.reasoning));
}
