// One line for an event of each type.

import { amount, count, exact, instrument, isNumber, percent, plus, venue, words } from "../format.js";

const held = (positions) => Object.entries(positions ?? {}).filter(([, quantity]) => quantity !== 0)
  .map(([key, quantity]) => `${instrument(key).token} ${amount(quantity)}`).join(", ") || "nothing held";

const SUMMARIES = {
  strategy_decisions: (event) => `${words(event.action_taken)}: ${event.reasoning}`,
  orders: (event) => `${words(event.operation_type)} ${amount(event.amount)} ${event.source_token ?? event.target_token ?? ""} at ${venue(event.venue)}`,
  operation_executions: (event) => `${words(event.operation_type)} at ${venue(event.venue)}: ${words(event.status)}${event.error_message ? `, ${event.error_message}` : ""}`,
  atomic_operation_groups: (event) => `${count(event.total_operations)} steps, ${words(event.group_status)}`,
  execution_deltas: (event) => `${words(event.operation_type)}: ${event.deltas.map((one) => `${instrument(one.instrument_key).token} ${plus(one.delta_amount, amount(one.delta_amount))}`).join(", ")}`,
  positions: (event) => `${words(event.trigger_source)}: ${held(event.positions)}`,
  exposures: (event) => `equity ${amount(event.share_class_value)}, net delta ${amount(event.net_delta_usd, 2)} USD`,
  risk_assessments: (event) => [words(event.risk_level), isNumber(event.health_factor) ? `HF ${amount(event.health_factor)}` : null, isNumber(event.ltv_ratio) ? `LTV ${percent(event.ltv_ratio)}` : null, ...event.warnings, ...event.breaches].filter(Boolean).join(", "),
  pnl_calculations: (event) => `PnL ${amount(event.total_pnl)}, gap ${exact(event.attribution_gap)}`,
  reconciliations: (event) => `${event.success ? "agrees" : "differs"}, ${words(event.reconciliation_type)} ${event.trigger_source.slice(-12)}`,
  tight_loop_executions: (event) => `order ${count(event.order_number)} of ${count(event.total_orders)}: ${words(event.execution_status)}${event.failure_reason ? `, ${event.failure_reason}` : ""}`,
  event_logger_operations: (event) => `${words(event.operation_type)} ${event.event_type ?? ""} ${event.file_path ?? ""}`,
};

/** What an event says, in short; its whole is a click away. */
export function summary(type, event) {
  try {
    return SUMMARIES[type]?.(event) ?? "";
  } catch {
    return ""; // an event of another version: the JSON has it all
  }
}
