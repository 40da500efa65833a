// The timeline of orders: what was expected, what came, and whether the books agreed.

import { get } from "../api.js";
import { h, put } from "../dom.js";
import { amount, count, instrument, minute, venue, words } from "../format.js";
import { empty, pill, trouble } from "../parts.js";
import { openOrder } from "./order.js";

const PAGE = 100;

/** Fill a tab with the orders of a run. */
export function orders(panel, report, context) {
  const list = h("div", { class: "orders" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show more");
  const state = h("p", { class: "soft", role: "status" });
  const items = [];
  let after = null, total = 0;

  async function load() {
    more.disabled = true;
    try {
      const found = await get(`results/${report.correlation_id}/orders`, { after, limit: PAGE }, context.signal);
      items.push(...found.items);
      [after, total] = [found.next, found.total];
      draw();
    } catch (error) {
      if (error.name !== "AbortError") put(state, trouble(error));
    }
    more.disabled = false;
  }

  function draw() {
    if (items.length === 0) {
      put(list, h("div", { class: "card" }, empty("No orders", "The strategy has ordered nothing in this run.")));
      return;
    }
    put(state, `${count(items.length)} of ${count(total)} orders`);
    put(list, blocks(items).map((block) => (block[0].atomic_group_id ? group(block, report, context) : single(block, report, context))));
    more.hidden = after === null || after === undefined;
  }
  panel.append(state, list, h("div", { class: "row" }, more));
  return load();
}

/** Orders of one atomic group, or of one tick, belong together. */
function blocks(items) {
  const found = [];
  for (const item of items) {
    const last = found.at(-1)?.[0];
    const same = last && last.atomic_group_id === item.atomic_group_id && (item.atomic_group_id !== null || last.tick === item.tick);
    if (same) found.at(-1).push(item);
    else found.push([item]);
  }
  return found;
}

function single(items, report, context) {
  return h("section", { class: "card group", "aria-label": `Orders of tick ${items[0].tick}` }, head(items, context, `${items.length === 1 ? "1 order" : `${items.length} orders`}`),
    h("div", {}, items.map((item) => row(item, report, context))));
}

function group(items, report, context) {
  const good = items.every((item) => item.status === "confirmed");
  const net = matrix(items);
  return h("section", { class: "card group atomic", "aria-label": `Atomic group at tick ${items[0].tick}` },
    head(items, context, `Atomic group, ${items.length} steps`, pill(good ? "confirmed" : "rolled_back", good ? "All steps done" : "None took effect")),
    h("ol", { class: "steps-list" }, items.map((item, i) => row(item, report, context, item.sequence_in_group ?? i))),
    h("details", { class: "matrix" }, h("summary", {}, "Net of the transaction, step by step"), net));
}

function head(items, context, title, ...marks) {
  const { tick, timestamp, intent } = items[0];
  return h("div", { class: "group-head" }, h("h2", {}, title), intent ? h("span", { class: "tag" }, words(intent)) : null, marks, h("span", { class: "spring" }),
    h("span", { class: "soft nowrap" }, `${minute(timestamp)} · tick ${count(tick)}`),
    h("button", { type: "button", class: "small", onclick: () => context.showTick(tick) }, "State then"));
}

function row(item, report, context, step = null) {
  const { reconciliation } = item;
  return h(step === null ? "div" : "li", { class: "order", "data-operation": item.operation_id, "data-step": step === null ? null : step + 1 }, h("span", { class: "thread" }),
    h("div", { class: "soft when" }, venue(item.venue)),
    h("div", {}, h("button", { type: "button", class: "open", onclick: () => openOrder(report, item.operation_id, context) }, sentence(item))),
    h("div", { class: "deltas" }, deltaLines(item)),
    h("div", { class: "marks" }, pill(item.status ?? "unknown"), reconciliation ? pill(reconciliation.success ? "good" : "bad", reconciliation.success ? "Reconciled" : "Not reconciled") : h("span", { class: "tag" }, "not reconciled by itself")));
}

/** `Supply 100,000 USDT`. */
export function sentence(item) {
  const token = item.source_token && item.operation_type !== "perp_trade" && item.operation_type !== "borrow" ? item.source_token : item.target_token;
  const to = item.target_token && item.target_token !== token ? ` → ${item.target_token}` : "";
  const { title, size, unit } = TRADES[item.operation_type]?.(item) ?? { title: words(item.operation_type), size: item.amount, unit: token };
  return `${title} ${amount(size)} ${unit ?? ""}${TRADES[item.operation_type] ? "" : to}`;
}

const signOf = (item, type) => Object.entries(item.expected_deltas ?? {}).find(([key]) => instrument(key).type === type)?.[1] ?? 0;
const TRADES = {
  perp_trade: (item) => ({ title: signOf(item, "Perp") < 0 ? "Sell" : "Buy", size: item.amount, unit: `${item.target_token ?? item.source_token} perpetual` }),
  spot_trade: (item) => ({ title: "Trade", size: item.amount, unit: `${item.source_token} → ${item.target_token}` }),
};

/** Expected against actual, for each instrument. */
function deltaLines(item) {
  const keys = [...new Set([...Object.keys(item.expected_deltas ?? {}), ...Object.keys(item.actual_deltas ?? {})])];
  const caption = ["", "expected", "actual"].map((name) => h("span", { class: "caption num" }, name));
  const tokens = keys.map((key) => instrument(key).token);
  return [caption, keys.map((key) => {
    const { token, type, venue: where } = instrument(key);
    const twice = tokens.indexOf(token) !== tokens.lastIndexOf(token);
    const [expected, actual] = [item.expected_deltas?.[key] ?? 0, item.actual_deltas?.[key] ?? null];
    const off = Math.abs(item.difference?.[key] ?? 0) > 1e-9 * Math.max(1, Math.abs(expected));
    return [h("span", { class: "soft", title: key }, type === "Perp" ? `${token} perp` : twice ? `${token} ${venue(where)}` : token), h("span", { class: "num soft" }, signed(expected)),
      h("span", { class: off ? "num value fault" : "num value", title: String(actual) }, signed(actual))];
  })];
}

const signed = (value) => (value === null ? "no change" : `${value > 0 ? "+" : ""}${amount(value)}`);

/** What each step of a group moved, and what is left of it in the end. */
function matrix(items) {
  const keys = [...new Set(items.flatMap((item) => Object.keys(item.actual_deltas ?? {})))];
  const cell = (value) => (value === undefined ? "" : signed(value));
  return h("div", { class: "scroll" }, h("table", { class: "dense" },
    h("thead", {}, h("tr", {}, h("th", {}, "Instrument"), items.map((item, i) => h("th", { class: "num" }, `${i + 1} ${words(item.operation_type)}`)), h("th", { class: "num" }, "Net"))),
    h("tbody", {}, keys.map((key) => {
      const { token, venue: where } = instrument(key);
      const net = items.reduce((total, item) => total + (item.actual_deltas?.[key] ?? 0), 0);
      return h("tr", {}, h("td", { class: "nowrap", title: key }, `${token} · ${venue(where)}`), items.map((item) => h("td", { class: "num" }, cell(item.actual_deltas?.[key]))), h("td", { class: "num net" }, signed(net)));
    }))));
}
