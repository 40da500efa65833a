// Start of the dashboard.

import { get } from "./api.js";
import { put } from "./dom.js";
import { trouble } from "./parts.js";
import { start } from "./router.js";
import { startTheme } from "./theme.js";

const HEALTH_EVERY_MS = 15_000;

startTheme(document.getElementById("theme"));
start((error) => put(document.getElementById("main"), trouble(error)));

/** Whether runs can be submitted, or results only be read. */
async function look() {
  const sign = document.getElementById("connection");
  try {
    const { nats_connected: connected } = await get("health");
    sign.dataset.state = connected ? "up" : "read";
    put(sign, connected ? "Connected" : "Reading results");
    sign.title = connected ? "The services answer over NATS" : "No services behind this page: runs can be read, not started";
  } catch {
    sign.dataset.state = "down";
    put(sign, "No answer");
  }
}

// after the first picture: it is what one waits for
setTimeout(look, 800);
setInterval(() => document.hidden || look(), HEALTH_EVERY_MS);
