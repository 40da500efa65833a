// Light, dark, or as the system says.

import { icon, put } from "./dom.js";

const KEY = "basis.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const NAMES = { auto: "as the system", light: "light", dark: "dark" };
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
const listeners = new Set();
let chosen = "auto";

/** Called after the colours changed; returns a function that ends it. */
export function onTheme(work) {
  listeners.add(work);
  return () => listeners.delete(work);
}

/** Value of a colour of tokens.css, now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function show(button) {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  put(button, icon(ICONS[chosen]));
  button.setAttribute("aria-label", `Colours: ${NAMES[chosen]}`);
  button.title = `Colours: ${NAMES[chosen]}`;
  for (const work of listeners) work();
}

/** Wire the toggle. */
export function startTheme(button) {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept in NEXT) chosen = kept;
  } catch {
    // storage is off: as the system says
  }
  button.addEventListener("click", () => {
    chosen = NEXT[chosen];
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // storage is off: holds until the page is left
    }
    show(button);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(button));
  show(button);
}
