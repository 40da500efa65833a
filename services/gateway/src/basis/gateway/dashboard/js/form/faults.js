// What is wrong with a form, said at the field that it is about.

import { h, uniqueId } from "../dom.js";

/**
 * Show faults in a form in place of those before: {path, text}, {element, text}, or {detail} of a problem document,
 * which names its field somewhere in its words. Returns whether each found its field; the first one gets the focus.
 */
export function show(form, faults) {
  for (const old of form.querySelectorAll(".fault.at-field")) old.remove();
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-errormessage");
  }
  let placed = true;
  let first = null;
  for (const { path, element, text, detail } of faults) {
    const field = element ?? (path ? form.querySelector(`[data-path="${CSS.escape(path)}"]`) : named(form, detail));
    if (!field) {
      placed = false;
      continue;
    }
    const control = field.querySelector("input, select, textarea");
    const id = uniqueId("fault");
    field.append(h("p", { class: "fault at-field", id, role: "alert" }, text ?? detail.replace(/^--set: /, "")));
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-errormessage", id);
    first ??= control;
  }
  first?.focus();
  return placed;
}

/** The field that a text of the server is about: the one whose path is named first, the longest of those at one place. */
function named(form, detail) {
  let best = null;
  for (const field of form.querySelectorAll("[data-path]")) {
    const { path } = field.dataset;
    if (!path) continue;
    // a nested value is named by its whole path; a parameter of the strategy may be named alone, too
    for (const name of new Set([path, path.replace(/^strategy\./, "")])) {
      const at = whole(detail, name);
      if (at >= 0 && (best === null || at < best.at || (at === best.at && name.length > best.length))) best = { at, length: name.length, field };
    }
  }
  return best?.field ?? null;
}

/** Where a name stands as a word of its own; -1 where it does not. */
function whole(text, name) {
  const pattern = new RegExp(`(?<![\\w.])(?:body\\.|config_overrides\\.|config\\.)*${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w])`);
  return text.search(pattern);
}
