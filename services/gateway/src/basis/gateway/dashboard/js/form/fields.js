// Fields of a form from a JSON Schema. What is not changed is not sent.

import { h, put, uniqueId } from "../dom.js";
import { amount, words } from "../format.js";

const NUMBERS = new Set(["number", "integer"]);

/**
 * Form fields of an object schema.
 * @param given values in place of the schema's defaults, from an earlier run
 * @param prefix dotted path of the object in the configuration
 * @returns element, and read() -> {values: dotted path -> value, faults: [{path, text}]}
 */
export function fields(schema, given, prefix) {
  const made = Object.entries(schema.properties ?? {})
    .map(([name, one]) => [name, resolved(one, schema)])
    .filter(([name, one]) => one.const === undefined && one.readOnly !== true && !(prefix === "strategy" && name === "signals")) // signals: not for clients over HTTP
    .map(([name, one]) => fieldOf(`${prefix}.${name}`, name, one, given[name]));
  const element = made.length ? h("div", { class: "fields" }, made.map((one) => one.element)) : h("p", { class: "soft" }, "It has none.");
  return {
    element,
    read() {
      const [values, faults] = [{}, []];
      for (const one of made) {
        try {
          const value = one.read();
          if (JSON.stringify(value) !== JSON.stringify(one.initial)) values[one.path] = value;
        } catch (fault) {
          faults.push({ path: one.path, text: fault.message });
        }
      }
      return { values, faults };
    },
  };
}

/** A schema with its $ref and its one alternative to null filled in. */
function resolved(one, root) {
  let found = one;
  if (found.$ref) {
    const { $ref, ...rest } = found;
    found = { ...$ref.replace("#/", "").split("/").reduce((node, key) => node?.[key], root), ...rest };
  }
  if (found.anyOf) {
    const others = found.anyOf.filter((option) => option.type !== "null");
    if (others.length < found.anyOf.length) found = { ...found, ...(others.length === 1 ? resolved(others[0], root) : {}), default: found.default, nullable: true };
  }
  return found;
}

function fieldOf(path, name, schema, given) {
  const initial = schema.default === undefined ? null : schema.default;
  const shown = given === undefined ? initial : given;
  const id = uniqueId("field");
  const { control, get, box } = controlOf(id, path, schema, shown);
  const changed = h("span", { class: "changed", "aria-live": "polite" });
  const helpId = `${id}-help`;
  control.setAttribute("aria-describedby", helpId);
  const mark = () => {
    let same = false;
    try {
      same = JSON.stringify(get()) === JSON.stringify(initial);
    } catch {
      // not a value yet
    }
    put(changed, same ? "" : "changed");
  };
  control.addEventListener("input", mark);
  mark();
  const wide = control.tagName === "TEXTAREA" ? "field wide" : "field";
  return {
    path, initial, read: get,
    element: h("div", { class: wide, "data-path": path }, h("div", { class: "label" }, h("label", { for: id }, words(name)), changed), box ?? control,
      h("p", { class: "help", id: helpId }, [schema.description, limits(schema)].filter(Boolean).join(" "))),
  };
}

function controlOf(id, path, schema, shown) {
  const base = { id, name: path };
  if (schema.enum) {
    const control = h("select", base, schema.nullable ? h("option", { value: "" }, "none") : null, schema.enum.map((one) => h("option", { value: one, selected: one === shown }, String(one))));
    return { control, get: () => (control.value === "" && schema.nullable ? null : schema.enum.find((one) => String(one) === control.value)) };
  }
  if (schema.type === "boolean") {
    const control = h("input", { ...base, type: "checkbox", checked: shown === true });
    return { control, get: () => control.checked, box: h("div", { class: "check" }, control, h("span", { class: "soft" }, "on")) };
  }
  if (NUMBERS.has(schema.type)) {
    const control = h("input", { ...base, type: "text", inputmode: "decimal", autocomplete: "off", value: shown === null ? "" : String(shown), placeholder: schema.nullable ? "by itself" : "" });
    return { control, get: () => numberOf(control.value, schema) };
  }
  if (schema.type === "string") {
    const control = h("input", { ...base, type: "text", autocomplete: "off", value: shown ?? "" });
    return { control, get: () => (control.value === "" && schema.nullable ? null : control.value) };
  }
  const control = h("textarea", { ...base, spellcheck: "false", value: JSON.stringify(shown, null, 2) });
  return { control, get: () => {
    try {
      return JSON.parse(control.value);
    } catch {
      throw new Error("This is not JSON.");
    }
  } };
}

function numberOf(text, schema) {
  const trimmed = text.trim();
  if (trimmed === "") {
    if (schema.nullable) return null;
    throw new Error("A number is missing.");
  }
  const value = Number(trimmed);
  if (!Number.isFinite(value)) throw new Error(`“${trimmed}” is not a number.`);
  if (schema.type === "integer" && !Number.isInteger(value)) throw new Error("A whole number is wanted.");
  return value; // its limits are the server's to judge: it says what would be right
}

function limits(schema) {
  const low = schema.minimum !== undefined ? `at least ${amount(schema.minimum, places(schema.minimum))}` : schema.exclusiveMinimum !== undefined ? `above ${amount(schema.exclusiveMinimum, places(schema.exclusiveMinimum))}` : null;
  const high = schema.maximum !== undefined ? `at most ${amount(schema.maximum, places(schema.maximum))}` : schema.exclusiveMaximum !== undefined ? `below ${amount(schema.exclusiveMaximum, places(schema.exclusiveMaximum))}` : null;
  const text = [low, high].filter(Boolean).join(", ");
  return text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : "";
}

const places = (value) => (String(value).split(".")[1] ?? "").length;
