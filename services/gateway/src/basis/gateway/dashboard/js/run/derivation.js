// How the size of an order's effect follows from the numbers of its own event.

import { exact, isNumber, venue, words } from "../format.js";
import { h } from "../dom.js";
import { pill } from "../parts.js";

const RELATIVE = 1e-9;

/** One worked calculation: words, numbers, result, and what the ledger says. Empty where the event tells no more. */
export function derivations(item) {
  const details = item.execution_details ?? {};
  const made = RULES[item.operation_type]?.(item, details) ?? [];
  return [...made.filter((one) => one !== null && one.numbers.every(([, value]) => isNumber(value))), ...gas(item, details)];
}

const deltaOf = (item, test) => Object.entries(item.actual_deltas ?? {}).find(([key]) => test(key));
const ofType = (type) => (key) => key.split(":")[1] === type;
const tokenOf = (key) => key.split(":").slice(2).join(":");

function scaled(item, type, index, name, sign) {
  const found = deltaOf(item, ofType(type));
  const size = item.execution_details?.amount ?? item.amount;
  if (!found || !isNumber(index)) return [];
  return [{ name: tokenOf(found[0]), words: `amount ÷ ${name}`, numbers: [["amount", size], [name, index]], sign: "÷", result: (sign * size) / index, ledger: found[1],
    text: type === "aToken" ? "Aave keeps a supplied balance scaled: it earns interest as the index grows, while the number of aTokens here stays." : "Aave keeps a debt scaled: what is owed is this number times the index, and grows with it." }];
}

const RULES = {
  supply: (item, details) => scaled(item, "aToken", details.liquidity_index, "liquidity index", 1),
  withdraw: (item, details) => scaled(item, "aToken", details.liquidity_index, "liquidity index", -1),
  borrow: (item, details) => scaled(item, "debtToken", details.variable_borrow_index, "variable borrow index", 1),
  repay: (item, details) => scaled(item, "debtToken", details.variable_borrow_index, "variable borrow index", -1),
  stake: (item, details) => {
    const found = deltaOf(item, ofType("LST"));
    return found ? [{ name: tokenOf(found[0]), words: "amount ÷ exchange rate", numbers: [["amount", details.amount ?? item.amount], ["exchange rate, ETH each", details.exchange_rate_eth]], sign: "÷",
      result: (details.amount ?? item.amount) / details.exchange_rate_eth, ledger: found[1], text: "A liquid staking token is worth more ETH as rewards accrue." }] : [];
  },
  swap: (item, details) => [{ name: `${item.target_token} out`, words: "amount in × price in ÷ price out × (1 − cost)", sign: "×",
    numbers: [["in", details.amount_in], ["price in", details.price_in_eth], ["1 / price out", 1 / details.price_out_eth], ["1 − cost", 1 - details.cost_fraction]],
    result: ((details.amount_in * details.price_in_eth) / details.price_out_eth) * (1 - details.cost_fraction), ledger: details.amount_out, text: "At the market's price, less the cost for its size." }],
  perp_trade: (item, details) => [{ name: "Fee", words: "quantity × fill price × fee rate", sign: "×", numbers: [["quantity", item.amount], ["fill price", details.fill_price], ["fee rate", details.fee_rate]],
    result: item.amount * details.fill_price * details.fee_rate, ledger: item.fee_amount, text: `Filled at the market's ${exact(details.market_price)} with ${exact(details.slippage_fraction)} slippage.` }],
  spot_trade: (item, details) => {
    const base = deltaOf(item, (key) => Math.abs(Math.abs(item.actual_deltas[key]) - item.amount) < RELATIVE * item.amount);
    return base ? [{ name: "Fee", words: "quantity × fill price × fee rate", sign: "×", numbers: [["quantity", item.amount], ["fill price", details.fill_price], ["fee rate", details.fee_rate]],
      result: item.amount * details.fill_price * details.fee_rate, ledger: item.fee_amount, text: `Filled at the market's ${exact(details.market_price)} with ${exact(details.slippage_fraction)} slippage.` }] : [];
  },
  transfer: (item, details) => {
    const arrived = Object.entries(item.actual_deltas ?? {}).find(([, delta]) => delta > 0);
    return arrived ? [{ name: `Arrives at ${venue(item.target_venue)}`, words: "amount − withdrawal fee", sign: "−", numbers: [["amount", details.amount ?? item.amount], ["withdrawal fee", details.withdrawal_fee]],
      result: (details.amount ?? item.amount) - details.withdrawal_fee, ledger: arrived[1] }] : [];
  },
};

function gas(item, details) {
  if (!isNumber(details.gas_units) || !isNumber(details.gas_price_gwei) || !isNumber(details.gas_fee)) return [];
  const ether = details.gas_units * details.gas_price_gwei * 1e-9;
  const paidInEther = item.fee_currency === "ETH" || details.gas_fee === 0;
  const numbers = [["gas units", details.gas_units], ["gas price, gwei", details.gas_price_gwei], ["ETH per gwei", 1e-9]];
  if (!paidInEther) numbers.push([`${item.fee_currency} per ETH`, details.gas_fee / ether]);
  return [{ name: `Gas in ${item.fee_currency ?? "ETH"}`, words: `gas units × gas price${paidInEther ? "" : " × price of ETH"}`, sign: "×", numbers,
    result: paidInEther ? ether : details.gas_fee, ledger: details.gas_fee, derived: !paidInEther, text: paidInEther ? null : "The event has the fee, not the price: this is the price that it implies." }];
}

/** A calculation on the page. */
export function worked(one) {
  const off = Math.abs(one.result - one.ledger);
  const same = off <= RELATIVE * Math.max(1e-9, Math.abs(one.ledger));
  return h("section", { class: "derivation", "aria-label": `How ${one.name} follows` },
    h("div", { class: "lines mono" },
      h("strong", {}, one.name), h("span", {}, "="), h("span", {}, one.words),
      h("span"), h("span", {}, "="), h("span", {}, one.numbers.map(([name, value], i) => [i ? ` ${one.sign} ` : "", h("span", { title: name }, exact(value))])),
      h("span"), h("span", {}, "="), h("span", { class: "result" }, exact(one.result))),
    h("div", { class: "verdict" }, h("span", { class: "soft" }, "The ledger says"), h("span", { class: "mono" }, exact(one.ledger)),
      one.derived ? null : pill(same ? "good" : "bad", same ? (off === 0 ? "Equal to the last digit" : "Equal") : `Differs by ${exact(one.result - one.ledger)}`)),
    one.text ? h("p", { class: "help" }, one.text) : null);
}

/** The rest of what the venue said of an execution. */
export const detailRows = (details) => Object.entries(details ?? {}).map(([name, value]) => [words(name), isNumber(value) ? exact(value) : typeof value === "object" ? JSON.stringify(value) : String(value)]);
