// A run that goes on: how far it is, how fast, and its curves as they grow.

import { events, get } from "../api.js";
import { h, put } from "../dom.js";
import { count, duration, isNumber } from "../format.js";
import { pill } from "../parts.js";

const GROW_EVERY_MS = 2500;
const LOOK_EVERY_MS = 2000;
const WINDOW_MS = 5000;
const LEAST_WINDOW_MS = 700;

/** Card with the progress; calls `ended` at the end. */
export function follow(report, { signal, ended, grow }) {
  const bar = h("div");
  const meter = h("div", { class: "meter", role: "progressbar", "aria-label": "Progress of the run", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const state = h("span", {}, pill(report.status));
  const text = h("span", { class: "soft" });
  const card = h("div", { class: "card pad stack live" }, h("div", { class: "row" }, state, text), meter);
  const samples = []; // [ms, ticks] of the last seconds
  let grown = Date.now();

  function speedOf(ticks) {
    const now = performance.now();
    samples.push([now, ticks]);
    while (samples.length > 2 && now - samples[0][0] > WINDOW_MS) samples.shift();
    const [[from, first]] = samples;
    return now - from < LEAST_WINDOW_MS ? 0 : ((ticks - first) * 1000) / (now - from);
  }

  function take(status) {
    const speed = speedOf(status.ticks);
    const done = isNumber(status.progress) ? status.progress : 0;
    bar.style.width = `${done * 100}%`;
    meter.setAttribute("aria-valuenow", Math.round(done * 100));
    put(state, pill(status.status));
    const left = speed > 0 ? (status.total_ticks - status.ticks) / speed : null;
    put(text, status.status === "queued" ? "Waits for an engine that is free." :
      `${count(status.ticks)} of ${count(status.total_ticks)} ticks${speed > 0 ? ` · ${count(speed)} ticks/s · ${duration(left)} left` : ""}`);
    if (Date.now() - grown > GROW_EVERY_MS) {
      grown = Date.now();
      grow();
    }
  }

  async function listen() {
    while (!signal.aborted) {
      try {
        for await (const [name, data] of events(`backtest/${report.correlation_id}/stream`, signal)) {
          if (name === "progress") take(data);
          if (name === "result") return ended();
        }
      } catch (error) {
        if (error.name === "AbortError" || signal.aborted) return undefined;
        if (error.status === 404) return look(); // a run of another process, seen by its directory alone
        put(text, `${error.message} Trying again.`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1500)); // the stream broke off: take it up again
    }
    return undefined;
  }
  /** Follow a run by its results. */
  async function look() {
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      try {
        const found = await get(`results/${report.correlation_id}`, {}, signal);
        if (found.status !== "running" && found.status !== "queued") return ended();
        take({ ...found, total_ticks: found.total_ticks ?? 0, progress: found.progress ?? 0 });
      } catch (error) {
        if (error.name === "AbortError" || signal.aborted) return undefined;
        put(text, error.message);
      }
    }
    return undefined;
  }
  take({ ...report, progress: report.progress ?? 0 });
  samples.length = 0; // the report is older than the stream's first word
  listen();
  return card;
}
