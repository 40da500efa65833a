// A form for a run: period, capital, and the mode's own parameters from its JSON Schema.

import { get, post, Problem } from "../api.js";
import { h, put } from "../dom.js";
import { amount, count, percent, venue, words } from "../format.js";
import { fields } from "../form/fields.js";
import { show as showFaults } from "../form/faults.js";
import { empty, trouble } from "../parts.js";
import { go } from "../router.js";

export async function show(main, { signal, parameters }) {
  put(main, h("div", { class: "skeleton" }));
  let modes, before = null;
  try {
    const from = parameters.get("from");
    [modes, before] = await Promise.all([get("strategies/", {}, signal), from && /^[0-9a-f]{32}$/.test(from) ? get(`results/${from}`, {}, signal).catch(() => null) : null]);
  } catch (error) {
    if (error.name !== "AbortError") put(main, trouble(error));
    return;
  }
  if (modes.length === 0) {
    put(main, empty("No modes", "The gateway has no configuration of a mode: see configs/modes."));
    return;
  }
  await new Form(main, modes, before, signal).start(before?.strategy ?? parameters.get("mode") ?? modes[0].mode);
}

class Form {
  constructor(main, modes, before, signal) {
    Object.assign(this, { modes, before, signal, parameters: null });
    const input = (id, type, more = {}) => h("input", { id, name: id, type, ...more });
    this.mode = h("select", { id: "strategy_name", name: "strategy_name", onchange: () => this.choose(this.mode.value) }, modes.map((one) => h("option", { value: one.mode }, one.mode)));
    this.start_date = input("start_date", "date");
    this.end_date = input("end_date", "date");
    this.capital = input("initial_capital", "number", { step: "any", min: 0 });
    this.capitalHelp = h("p", { class: "help" });
    this.about = h("aside", { class: "card pad stack aside" });
    this.own = h("fieldset", { class: "card pad" });
    this.others = new Overrides();
    this.trouble = h("div", { role: "alert" });
    this.button = h("button", { class: "primary" }, "Run backtest");
    this.form = h("form", { class: "form", novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } },
    h("div", { class: "stack" }, this.trouble,
      h("fieldset", { class: "card pad" }, h("legend", {}, "Run"), h("div", { class: "fields" },
        field("Strategy", this.mode, null, "wide"),
        field("First day", this.start_date, "Empty: where the data begins. UTC."),
        field("Last day", this.end_date, "Empty: where the data ends."),
        field("Initial capital", this.capital, this.capitalHelp))),
      this.own,
      h("fieldset", { class: "card pad" }, h("legend", {}, "Other values of the configuration"), this.others.element),
      h("div", { class: "row" }, this.button, h("span", { class: "help" }, "Nothing is left of a run that is refused."))),
    this.about);
    put(main, h("div", { class: "stack" }, h("h1", {}, "New run"), this.form));
  }

  async start(mode) {
    const known = this.modes.some((one) => one.mode === mode);
    if (!known) put(this.trouble, trouble(new Error(`The mode ${mode} is not there any more.`)));
    this.mode.value = known ? mode : this.modes[0].mode;
    if (this.before) {
      this.start_date.value = (this.before.start ?? "").slice(0, 10);
      this.end_date.value = (this.before.end ?? "").slice(0, 10);
      this.capital.value = this.before.initial_capital ?? "";
    }
    await this.choose(this.mode.value);
    const health = await get("health", {}, this.signal).catch(() => null);
    if (health && !health.nats_connected) put(this.trouble, h("div", { class: "notice", "data-kind": "warn" }, h("strong", {}, "This page only reads results"),
      h("span", {}, "No services are behind it to run anything. Start them with basis services up, whose own page can submit, or run basis backtest in a shell.")));
  }

  /** Show a mode's own parameters. */
  async choose(mode) {
    const chosen = this.modes.find((one) => one.mode === mode);
    put(this.about, h("h2", {}, chosen.mode), h("p", {}, chosen.description), facts(chosen));
    this.capital.placeholder = amount(chosen.default_capital);
    put(this.capitalHelp, `${chosen.share_class}. Empty: ${amount(chosen.default_capital)}.`);
    put(this.own, h("legend", {}, "Parameters of the strategy"), h("div", { class: "skeleton" }));
    try {
      const schema = await get(`strategies/${encodeURIComponent(mode)}/schema`, {}, this.signal);
      if (this.mode.value !== mode) return; // chosen again meanwhile
      const given = this.before?.strategy === mode ? this.before.config?.strategy : null;
      this.parameters = fields(schema, given ?? {}, "strategy");
      put(this.own, h("legend", {}, "Parameters of the strategy"), schema.description ? h("p", { class: "soft" }, `${schema.description} Only what you change is sent.`) : null, this.parameters.element);
    } catch (error) {
      if (error.name !== "AbortError") put(this.own, trouble(error));
    }
  }

  async submit() {
    showFaults(this.form, []);
    put(this.trouble);
    const [own, others] = [this.parameters?.read() ?? { values: {}, faults: [] }, this.others.read()];
    const faults = [...own.faults, ...others.faults];
    const capital = this.capital.value.trim();
    if (this.capital.validity.badInput) faults.push({ path: "initial_capital", text: "This is not a number." });
    if (faults.length) {
      showFaults(this.form, faults);
      return;
    }
    this.button.disabled = true;
    put(this.button, "Submitting …");
    try {
      const accepted = await post("backtest/", {
        strategy_name: this.mode.value,
        start_date: this.start_date.value || null,
        end_date: this.end_date.value || null,
        initial_capital: capital === "" ? null : Number(capital),
        config_overrides: { ...own.values, ...others.values },
      });
      await go(`/runs/${accepted.correlation_id}`);
    } catch (error) {
      this.refused(error);
    } finally {
      this.button.disabled = false;
      put(this.button, "Run backtest");
    }
  }

  /** Show the server's problem at the field that it names, else above the form. */
  refused(error) {
    if (!(error instanceof Problem)) throw error;
    const placed = showFaults(this.form, [{ detail: error.message }]);
    if (!placed) {
      put(this.trouble, trouble(error));
      this.trouble.scrollIntoView({ block: "center" });
    }
  }
}

/** Label, control and help; a fault finds it by the control's name. */
function field(label, control, help, kind = "") {
  const helpId = `${control.id}-help`;
  const text = typeof help === "string" ? h("p", { class: "help" }, help) : help;
  if (text) {
    text.id = helpId;
    control.setAttribute("aria-describedby", helpId);
  }
  return h("div", { class: `field ${kind}`, "data-path": control.name }, h("div", { class: "label" }, h("label", { for: control.id }, label)), control, text);
}

function facts(mode) {
  return h("dl", { class: "facts" },
    h("dt", {}, "Share class"), h("dd", {}, mode.share_class), h("dt", {}, "Asset"), h("dd", {}, mode.asset),
    h("dt", {}, "Venues"), h("dd", {}, mode.venues.map(venue).join(", ")), h("dt", {}, "Tick"), h("dd", {}, `${count(mode.time_step_s)} s`),
    h("dt", {}, "Target a year"), h("dd", {}, percent(mode.target_apy, 1)), h("dt", {}, "Largest drawdown"), h("dd", {}, percent(mode.max_drawdown, 1)),
    h("dt", {}, "Positions"), h("dd", {}, count(mode.position_subscriptions.length)));
}

/** Any other value, by its dotted path, as `--set` takes it. */
class Overrides {
  constructor() {
    this.rows = h("div", { class: "stack" });
    this.element = h("div", { class: "stack" }, h("p", { class: "help" }, "A dotted path of the merged configuration and a JSON value, as --set takes them: venues.wallet.gas_price_gwei and 0."),
      this.rows, h("div", {}, h("button", { type: "button", class: "small", onclick: () => this.add().querySelector("input").focus() }, `Add a value`)));
  }

  add() {
    const row = h("div", { class: "field wide" }, h("div", { class: "override" },
      h("input", { "aria-label": "Path", placeholder: "venues.wallet.gas_price_gwei", oninput: (event) => { row.dataset.path = event.target.value.trim(); } }), h("input", { "aria-label": "Value", placeholder: "JSON value" }),
      h("button", { type: "button", class: "quiet", "aria-label": "Remove this value", onclick: () => row.remove() }, words("remove"))));
    this.rows.append(row);
    return row;
  }

  read() {
    const [values, faults] = [{}, []];
    for (const row of this.rows.children) {
      const [path, value] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
      if (path === "" && value === "") continue;
      try {
        if (path === "") faults.push({ element: row, text: "A path is missing." });
        else values[path] = JSON.parse(value);
      } catch {
        values[path] = value; // --set takes a bare word as text, too
      }
    }
    return { values, faults };
  }
}
