// What the run was made of: configuration, data, code, and the seal.

import { h } from "../dom.js";
import { count, exact, isNumber } from "../format.js";
import { empty, json } from "../parts.js";

/** Fill a tab with it. */
export function configuration(panel, report) {
  const rows = [["Mode", report.strategy], ["Data", report.data_path], ["SHA-256 of the data", report.data_sha256], ["SHA-256 of the configuration", report.config_sha256], ["Version", report.code_version], ["Event hash", report.event_hash]];
  const found = Object.entries(flat(report.config ?? {}));
  const table = h("tbody", {}, found.map(([path, value]) => h("tr", {}, h("td", { class: "mono" }, path), h("td", { class: "mono num" }, isNumber(value) ? exact(value) : value === null ? "null" : String(value)))));
  const filter = h("input", { type: "search", "aria-label": "Find a parameter", placeholder: `Find among ${count(found.length)} parameters`, oninput: (event) => {
    const text = event.target.value.trim().toLowerCase();
    for (const row of table.rows) row.hidden = !row.textContent.toLowerCase().includes(text);
  } });
  panel.append(h("div", { class: "two" },
    h("div", { class: "stack" },
      h("section", { class: "card pad stack" }, h("h2", {}, "Provenance"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", { class: "mono" }, value ?? "–")]))),
      h("section", { class: "card pad stack" }, h("h2", {}, "Notes on the data"), (report.data_notes ?? []).length ? h("ul", { class: "stack" }, report.data_notes.map((note) => h("li", { class: "soft" }, note))) : h("p", { class: "soft" }, "None.")),
      h("details", { class: "card pad" }, h("summary", {}, "As JSON"), json(report.config))),
    h("section", { class: "card pad stack" }, h("h2", {}, "Configuration"), filter, found.length ? h("div", { class: "scroll" }, h("table", { class: "dense tree" }, table)) : empty("No configuration", "It is written when the run begins."))));
}

/** Nested values as dotted paths: the paths of `--set`. */
export function flat(value, prefix = "", into = {}) {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0) {
    for (const [name, one] of Object.entries(value)) flat(one, prefix ? `${prefix}.${name}` : name, into);
  } else into[prefix] = Array.isArray(value) || (value !== null && typeof value === "object") ? JSON.stringify(value) : value;
  return into;
}
