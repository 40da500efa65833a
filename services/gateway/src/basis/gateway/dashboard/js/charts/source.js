// Curves from the server: the columns of one or more charts, in the resolution that the screen can show.

import { get } from "../api.js";
import { debounce } from "../dom.js";
import { points } from "../early.js";

const SETTLE_MS = 90;

/** Columns of a run. Events: `data` after each load, `fault` with `error`. */
export class Source extends EventTarget {
  constructor(id, columns, view, signal) {
    super();
    Object.assign(this, { id, columns, view, signal, data: null, error: null, wanted: false });
    this.pending = null;
    const later = debounce(() => this.wanted && this.load(), SETTLE_MS);
    view.addEventListener("range", later, { signal });
  }

  /** Start to load, once; charts call it when they come near the window. */
  want() {
    if (this.wanted) return;
    this.wanted = true;
    if (this.data === null) this.load();
  }

  /** Load the view's range anew. */
  async load() {
    this.pending?.abort();
    const mine = (this.pending = new AbortController());
    const stop = () => mine.abort();
    this.signal.addEventListener("abort", stop, { once: true });
    const { first, last, whole } = this.view;
    try {
      const found = await get(`results/${this.id}/curves`, {
        columns: this.columns.join(","),
        points: points(),
        ...(whole ? {} : { start_tick: first, end_tick: last }),
      }, mine.signal);
      if (this.pending === mine) this.take(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.error = error;
      this.dispatchEvent(new Event("fault"));
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
  }

  /** Take what the server sent. */
  take(found) {
    this.data = { ...found, seconds: found.times.map((ms) => ms / 1000) };
    this.error = null;
    this.wanted = true;
    this.dispatchEvent(new Event("data"));
  }

  /** Index of the last point at or before a tick; -1 before the first. */
  indexAt(tick) {
    const ticks = this.data?.ticks ?? [];
    let [low, high] = [0, ticks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ticks[middle] <= tick) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
