// A chart: title, legend that reads the cursor, and a plot that can be dragged, zoomed and left to the keyboard.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { h, put, uniqueId } from "../dom.js";
import { axis as axisNumber, minute } from "../format.js";
import { colour, onTheme } from "../theme.js";
import { gestures } from "./gestures.js";

const NEAR = "400px";
const NARROW_PX = 620;

/**
 * A chart of a run page.
 *
 * options: title, note, height, source, view, signal, series: [{name, label, color, width, dash, fill, fillTo, stepped, aside, read}],
 * read: value -> text, range: (low, high) -> [low, high], draw: (u, context) => void, stacked, slider, summary.
 */
export class Panel {
  constructor(options) {
    Object.assign(this, { height: 190, read: String, series: [], note: null }, options);
    this.hidden = new Set();
    this.plot = null;
    this.build();
    const { source, view, signal } = this;
    source.addEventListener("data", () => this.drawn(), { signal });
    source.addEventListener("fault", () => this.failed(), { signal });
    view.addEventListener("cursor", () => this.follow(), { signal });
    view.addEventListener("hover", () => this.follow(), { signal });
    view.addEventListener("range", () => this.rescale(), { signal });
    const unheed = onTheme(() => this.rebuild());
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.host);
    this.near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && source.want(), { rootMargin: NEAR });
    this.near.observe(this.element);
    signal.addEventListener("abort", () => {
      unheed();
      this.sizes.disconnect();
      this.near.disconnect();
      this.plot?.destroy();
    });
    if (source.data) this.drawn();
  }

  build() {
    const title = uniqueId("chart");
    this.values = new Map();
    this.legend = h("ul", { class: "legend" }, this.series.map((series) => this.entry(series)));
    this.host = h("div", { class: "plot", style: { height: `${this.height}px` } }, h("div", { class: "skeleton" }));
    this.element = h("figure", { class: "chart", "aria-labelledby": title },
      h("figcaption", {}, h("h2", { id: title }, this.title), this.unit ? h("span", { class: "unit" }, this.unit) : null, this.legend),
      this.host, this.note ? h("p", { class: "help" }, this.note) : null);
  }

  entry(series) {
    const value = h("span", { class: "value" });
    this.values.set(series.name, value);
    const swatch = h("span", { class: series.dash ? "swatch dashed" : "swatch", style: { "--swatch": `var(--${series.color})` } });
    if (this.series.length === 1) return h("li", {}, swatch, h("span", {}, series.label), value);
    const button = h("button", { type: "button", class: "key", "aria-pressed": "true", title: `Show or hide ${series.label}`, onclick: () => {
      const off = this.hidden.delete(series.name) ? false : Boolean(this.hidden.add(series.name));
      button.setAttribute("aria-pressed", String(!off));
      this.show();
    } }, swatch, h("span", {}, series.label));
    return h("li", {}, button, value);
  }

  shown() {
    return this.series.filter((series) => !this.hidden.has(series.name));
  }

  /** Columns for uPlot; hidden ones are empty, so that the scale follows what is seen. */
  columns() {
    const { data } = this.source;
    const none = data.seconds.map(() => null);
    if (this.stacked) return [data.seconds, ...this.stacked(data, this.shown())];
    return [data.seconds, ...this.series.map((series) => (this.hidden.has(series.name) ? none : data.columns[series.name] ?? none))];
  }

  drawn() {
    if (this.plot === null && this.host.clientWidth === 0) return; // not on the page yet: resize comes back
    if (this.plot === null) this.make();
    else this.plot.setData(this.columns(), false);
    this.rescale();
    this.follow();
  }

  show() {
    if (this.plot === null) return;
    this.plot.setData(this.columns(), false);
    this.rescale();
    this.follow();
  }

  failed() {
    if (this.plot === null) put(this.host, h("p", { class: "fault", role: "alert" }, `This curve could not be loaded: ${this.source.error.message}`));
  }

  make() {
    put(this.host);
    this.mark = h("div", { class: "cursor-line", hidden: true });
    this.ghost = h("div", { class: "hover-line", hidden: true });
    const narrow = this.host.clientWidth < NARROW_PX;
    const ink = colour("faint");
    const font = `11.5px ${colour("sans")}`;
    const lines = this.stacked ? [{ label: "high" }, { label: "low" }, { label: "total", stroke: colour("ink"), width: 1.5 }] : this.series.map((series) => ({
      label: series.label,
      auto: !series.aside, // the scale is not for it
      stroke: colour(series.color),
      width: series.width ?? 1.6,
      dash: series.dash ? [4, 4] : undefined,
      fill: series.fill ? `color-mix(in srgb, ${colour(series.color)} 12%, transparent)` : undefined,
      fillTo: series.fillTo,
      paths: series.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      spanGaps: false,
    }));
    this.plot = new uPlot({
      width: Math.max(200, this.host.clientWidth),
      height: this.height,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { time: true, range: () => this.window() }, y: { range: (u, low, high) => this.bounds(low, high) } },
      axes: [
        { stroke: ink, font, size: this.bare ? 4 : 26, gap: 4, space: narrow ? 70 : 90, grid: { show: false }, ticks: { stroke: colour("line"), size: 4, width: 1 }, values: this.bare ? () => [] : TIMES },
        { stroke: ink, font, size: narrow ? 52 : 66, gap: 6, space: 34, grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false },
          values: (u, splits, i, space, step) => splits.map((value) => (this.axisText ?? axisNumber)(value, step)) },
      ],
      series: [{}, ...lines.map((line) => ({ points: { show: false }, ...line }))],
      hooks: { drawClear: this.under ? [(u) => this.under(u, this)] : [], draw: [(u) => this.draw?.(u, this), () => this.place()] },
    }, this.columns(), this.host);
    this.plot.over.append(this.ghost, this.mark);
    gestures(this.plot, this.view, this.signal);
  }

  /** Seconds that the axis spans. */
  window() {
    const { first, last } = this.view;
    const [from, to] = [this.view.timeOf(first) / 1000, this.view.timeOf(last) / 1000];
    return from < to ? [from, to] : [from - 1, to + 1];
  }

  bounds(low, high) {
    let [from, to] = [low ?? 0, high ?? 1];
    for (const trigger of this.triggers ?? []) [from, to] = [Math.min(from, trigger.value), Math.max(to, trigger.value)];
    if (this.range) [from, to] = this.range(from, to);
    const room = (to - from) * (this.triggers?.length ? 0.13 : 0.07) || Math.abs(to) * 0.02 || 1;
    return [this.floor === from ? from : from - room, this.ceiling === to ? to : to + room];
  }

  rescale() {
    if (this.plot === null) return;
    this.plot.batch(() => {
      const [min, max] = this.window();
      this.plot.setScale("x", { min, max });
    });
    this.place();
  }

  resize() {
    if (this.host.clientWidth === 0) return;
    if (this.plot === null) {
      if (this.source.data) this.drawn();
      return;
    }
    if (this.host.clientWidth !== this.plot.width) this.plot.setSize({ width: this.host.clientWidth, height: this.height });
    this.place();
  }

  rebuild() {
    if (this.plot === null) return;
    this.plot.destroy();
    this.plot = null;
    this.drawn();
  }

  /** Put the cursor's lines where they belong, and read the legend there. */
  follow() {
    if (!this.source.data) return;
    this.place();
    const tick = this.view.hover ?? this.view.cursor;
    const index = this.source.indexAt(tick);
    for (const series of this.series) {
      const column = this.source.data.columns[series.name];
      const value = index < 0 || !column ? null : column[index];
      put(this.values.get(series.name), value === null || value === undefined ? "–" : (series.read ?? this.read)(value));
    }
  }

  place() {
    if (this.plot === null) return;
    line(this.plot, this.mark, this.view, this.view.cursor);
    line(this.plot, this.ghost, this.view, this.view.hover);
  }
}

const DAY_S = 86_400;

/** Marks of the time axis: years, months, days or hours, by how far apart they are; always UTC. */
function TIMES(u, splits, axis, space, step) {
  let before = "";
  const end = u.scales.x.max - (u.scales.x.max - u.scales.x.min) * ((22 * devicePixelRatio) / Math.max(1, u.bbox.width));
  return splits.map((seconds) => {
    if (seconds > end) return null; // there is no room for its text
    const text = minute(seconds * 1000);
    const [date, time] = text.split(" ");
    if (step >= 360 * DAY_S) return date.slice(0, 4);
    if (step >= 28 * DAY_S) return date.slice(0, 7);
    if (step >= DAY_S) return date;
    const shown = date === before ? time : `${date.slice(5)} ${time}`;
    before = date;
    return shown;
  });
}

function line(plot, element, view, tick) {
  const x = tick === null ? null : plot.valToPos(view.timeOf(tick) / 1000, "x");
  element.hidden = x === null || x < -1 || x > plot.over.clientWidth + 1;
  if (!element.hidden) element.style.transform = `translateX(${x}px)`;
}
