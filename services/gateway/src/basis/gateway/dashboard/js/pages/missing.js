// A path that the dashboard does not know.

import { h } from "../dom.js";
import { empty } from "../parts.js";

export function show(main) {
  main.append(empty("There is no such page", `Nothing is at ${location.pathname}.`, h("a", { class: "button", href: "/", "data-nav": true }, "All runs")));
}
