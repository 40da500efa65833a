// One order from intent to reconciliation, with its arithmetic.

import { get } from "../api.js";
import { h, put } from "../dom.js";
import { count, exact, instrument, minute, venue, words } from "../format.js";
import { drawer, json, pill, trouble } from "../parts.js";
import { remember } from "../router.js";
import { derivations, detailRows, worked } from "./derivation.js";
import { sentence } from "./orders.js";
import { summary } from "./summaries.js";

/** Show an order in the drawer. */
export async function openOrder(report, operation, context) {
  remember({ order: operation });
  const { body, dialog, setTitle } = drawer("Order", { onclose: () => remember({ order: null }) });
  put(body, h("div", { class: "skeleton" }));
  try {
    const item = await get(`results/${report.correlation_id}/orders/${operation}`);
    setTitle(`${sentence(item)}`);
    put(body, facts(item, context, dialog), derivations(item).map(worked), deltas(item), reconciled(item), group(item, report, context, dialog), details(item), trail(item));
  } catch (error) {
    put(body, trouble(error));
  }
}

function facts(item, context, dialog) {
  return h("div", { class: "stack" },
    h("div", { class: "row" }, pill(item.status ?? "unknown"), h("span", { class: "tag" }, words(item.operation_type)), h("span", { class: "tag" }, venue(item.venue)), item.intent ? h("span", { class: "tag" }, words(item.intent)) : null,
      h("span", { class: "spring" }), h("button", { type: "button", class: "small", onclick: () => {
        dialog.close();
        context.showTick(item.tick);
      } }, "State then")),
    h("dl", { class: "facts" },
      h("dt", {}, "When"), h("dd", {}, `${minute(item.timestamp)} UTC, tick ${count(item.tick)}`),
      h("dt", {}, "From"), h("dd", {}, place(item.source_token, item.source_venue)),
      h("dt", {}, "To"), h("dd", {}, place(item.target_token, item.target_venue)),
      h("dt", {}, "Amount"), h("dd", {}, exact(item.amount)),
      h("dt", {}, "Fee"), h("dd", {}, item.fee_amount ? `${exact(item.fee_amount)} ${item.fee_currency ?? ""}` : "none"),
      h("dt", {}, "Operation"), h("dd", { class: "mono" }, item.operation_id)),
    item.error_message || item.error_code ? h("div", { class: "notice", "data-kind": "bad" }, h("strong", {}, item.error_code ?? "Failed"), h("span", {}, item.error_message ?? "")) : null);
}

const place = (token, where) => (token || where ? [token, where ? venue(where) : null].filter(Boolean).join(" at ") : "–");

function deltas(item) {
  const keys = [...new Set([...Object.keys(item.expected_deltas ?? {}), ...Object.keys(item.actual_deltas ?? {})])];
  return h("section", { class: "stack" }, h("h3", {}, "Expected and actual change"), h("div", { class: "scroll" }, h("table", { class: "dense" },
    h("thead", {}, h("tr", {}, h("th", {}, "Instrument"), h("th", { class: "num" }, "Expected"), h("th", { class: "num" }, "Actual"), h("th", { class: "num" }, "Difference"))),
    h("tbody", {}, keys.map((key) => {
      const { token, venue: where } = instrument(key);
      const off = item.difference?.[key] ?? null;
      return h("tr", { title: key }, h("td", {}, h("strong", {}, token), h("div", { class: "help" }, venue(where))), h("td", { class: "num" }, exact(item.expected_deltas?.[key] ?? null)),
        h("td", { class: "num" }, exact(item.actual_deltas?.[key] ?? null)), h("td", { class: off ? "num fault" : "num" }, off === null ? "–" : exact(off)));
    })))));
}

function reconciled(item) {
  const found = item.reconciliation;
  if (!found) return null;
  const mismatches = found.mismatches ?? [];
  return h("section", { class: "stack" }, h("div", { class: "row" }, h("h3", {}, "Reconciliation"), pill(found.success ? "good" : "bad", found.success ? "Books and venue agree" : "Books and venue disagree"),
    h("span", { class: "soft" }, found.attempts === 1 ? "at the first look" : `after ${count(found.attempts)} looks`)),
    mismatches.length ? h("div", { class: "scroll" }, h("table", { class: "dense" }, h("thead", {}, h("tr", {}, ["Instrument", "Kind", "Expected", "Actual", "Tolerance"].map((name) => h("th", {}, name)))),
      h("tbody", {}, mismatches.map((one) => h("tr", {}, h("td", {}, one.instrument_key), h("td", {}, one.kind), h("td", {}, exact(one.expected)), h("td", {}, exact(one.actual)), h("td", {}, exact(one.tolerance))))))) : null);
}

function group(item, report, context, dialog) {
  const found = item.group;
  if (!found) return null;
  return h("section", { class: "stack" }, h("div", { class: "row" }, h("h3", {}, `Step ${(item.sequence_in_group ?? 0) + 1} of ${found.total_operations} of an atomic group`), pill(found.group_status === "completed" ? "good" : "bad", words(found.group_status))),
    found.rollback_reason ? h("p", { class: "fault" }, found.rollback_reason) : null,
    h("ol", { class: "trail" }, found.operations.map((step) => h("li", {}, h("div", { class: "row" },
      step.operation_id === item.operation_id ? h("strong", { "aria-current": "step" }, words(step.operation_type)) : h("button", { type: "button", class: "small", onclick: () => {
        dialog.close();
        openOrder(report, step.operation_id, context);
      } }, words(step.operation_type)), h("span", { class: "soft" }, venue(step.venue)), pill(step.status))))));
}

function details(item) {
  const rows = detailRows(item.execution_details);
  if (rows.length === 0) return null;
  return h("section", { class: "stack" }, h("h3", {}, "What the venue executed with"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function trail(item) {
  return h("section", { class: "stack" }, h("h3", {}, "Its events"), h("ol", { class: "trail" }, (item.events ?? []).map((one) => {
    const { type, order, event } = one.event ? one : { type: one.event_type ?? "event", order: one.order, event: one };
    return h("li", {}, h("details", {}, h("summary", {}, h("strong", {}, words(type)), h("span", { class: "soft" }, ` ${count(order)} · ${summary(type, event)}`)), json(event)));
  })));
}
