// Asking for an API key: where the gateway wants one, and only then.

import { h } from "./dom.js";

let asking = null;

/** The key that the user gives; one question at a time, however many requests wait for it. */
export function askForKey(refused) {
  asking ??= ask(refused).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(refused) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "api-key", autocomplete: "off", required: true, "aria-describedby": "api-key-help" });
    const dialog = h(
      "dialog",
      { "aria-labelledby": "api-key-title" },
      h("form", { class: "body", method: "dialog", onsubmit: () => resolve(input.value.trim()) },
        h("h2", { id: "api-key-title" }, "This gateway wants an API key"),
        refused ? h("p", { class: "fault", role: "alert" }, "It does not know the last one.") : null,
        h("div", { class: "stack" },
          h("label", { for: "api-key" }, "API key"),
          input,
          h("p", { class: "help", id: "api-key-help" }, "Kept in this tab only, until you close it. With scope “read” you can look, with “run” you can submit."),
        ),
        h("div", { class: "row" }, h("span", { class: "spring" }), h("button", { class: "primary" }, "Use key")),
      ),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // nothing works without it
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
