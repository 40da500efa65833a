// One run: what it came to, its curves with a cursor, its orders, its events, its configuration.

import { get } from "../api.js";
import { h, put } from "../dom.js";
import { count } from "../format.js";
import { trouble, tabs } from "../parts.js";
import { go, remember } from "../router.js";
import { firstQuestions } from "../early.js";
import { follow } from "../run/progress.js";
import { heading, stats } from "../run/heading.js";
import { overview } from "../run/overview.js";

const MOVING = new Set(["queued", "running"]);

export async function show(main, { signal, parameters, id }) {
  put(main, h("div", { class: "skeleton tall" }));
  let report, curves;
  const questions = firstQuestions(id);
  try {
    [report, curves] = await Promise.all([
      get(questions.report, {}, signal),
      get(questions.curves, {}, signal).catch((error) => {
        if (error.name === "AbortError") throw error;
        return null; // a run without a single tick has no curves
      }),
    ]);
  } catch (error) {
    if (error.name !== "AbortError") put(main, trouble(error));
    return;
  }
  document.title = `${report.strategy} · Basis`;
  const again = () => go(`/runs/${id}${location.search}`, { replace: true });
  const moving = MOVING.has(report.status);
  const figures = h("div", {}, stats(report));
  const page = h("div", { class: "stack run" }, heading(report, { again, moving }), failure(report));
  const open = { order: parameters.get("order"), tick: parameters.get("tick") };
  const drawn = curves !== null && curves.ticks.length > 0 ? curves : null;
  const charts = drawn === null ? null : get(questions.charts, {}, signal).then((found) => found.charts);
  const board = overview(report, drawn, { signal, tick: open.tick, charts });
  const parts = tabs("Parts of the run", [
    { name: "overview", title: "Overview", make: (panel) => panel.append(board.element) },
    { name: "orders", title: "Orders", note: ` ${count(report.counts?.orders ?? 0)}`, make: async (panel) => {
      const { orders } = await import("../run/orders.js");
      orders(panel, report, { signal, showTick });
    } },
    { name: "events", title: "Events", note: ` ${count(sum(report.counts))}`, make: async (panel) => {
      const { explorer } = await import("../run/events.js");
      explorer(panel, report, { signal, showTick, type: parameters.get("type"), text: parameters.get("text") });
    } },
    { name: "metrics", title: "Metrics", make: async (panel) => {
      const { metrics } = await import("../run/metrics.js");
      metrics(panel, report);
    } },
    { name: "config", title: "Configuration", make: async (panel) => {
      const { configuration } = await import("../run/configuration.js");
      configuration(panel, report);
    } },
  ], parameters.get("tab") ?? "overview", (name) => remember({ tab: name === "overview" ? null : name }));

  function showTick(tick) {
    parts.choose("overview", false);
    board.view?.setCursor(tick);
    scrollTo({ top: 0 });
  }

  /** The run has gone on: figures and curves anew. */
  async function grow() {
    try {
      if (board.grow) await board.grow();
      else if ((await get(`results/${id}/curves`, { columns: "equity", points: 4 }, signal)).ticks.length > 1) {
        again(); // now there is something to draw
        return;
      }
      put(figures, stats(await get(`results/${id}`, {}, signal)));
    } catch {
      // nothing on disk yet, or no answer: the progress goes on
    }
  }
  if (moving) page.append(follow(report, { signal, ended: again, grow }));
  page.append(figures, parts.bar, parts.host);
  put(main, page);
  parts.start();
  if (open.order) {
    const { openOrder } = await import("../run/order.js");
    openOrder(report, open.order, { showTick });
  }
}

function failure(report) {
  if (report.status !== "failed" && report.status !== "cancelled") return null;
  const code = report.error_code ? ` [${report.error_code}]` : "";
  return h("div", { class: "notice", "data-kind": report.status === "failed" ? "bad" : "warn", role: "alert" },
    h("strong", {}, `${report.status === "failed" ? "The run failed" : "The run was cancelled"} after ${count(report.ticks)} of ${count(report.total_ticks)} ticks${code}`),
    report.error ? h("span", {}, report.error) : null);
}

const sum = (counts) => Object.values(counts ?? {}).reduce((total, one) => total + one, 0);
