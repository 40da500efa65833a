// What all charts of a run share: the range of ticks that is shown, the cursor, and the hover.

const LEAST_TICKS = 8;

/** Range and cursor of a run page. Events: `range`, `cursor`, `hover`. */
export class View extends EventTarget {
  /** @param total ticks of the run */
  constructor(total) {
    super();
    this.total = total;
    this.first = 0;
    this.last = Math.max(0, total - 1);
    this.cursor = this.last;
    this.hover = null;
    this.drag = "cursor"; // or "zoom": what dragging in a chart does
    this.known = []; // [tick, ms], in order: where times are known from curves
  }

  /** Learn times of ticks from the curves of the whole run. */
  learn(ticks, times) {
    this.known = ticks.map((tick, i) => [tick, times[i]]);
  }

  /** Time of a tick in ms, between known ones in proportion. */
  timeOf(tick) {
    return between(this.known, tick, 0, 1);
  }

  /** Tick at a time in ms. */
  tickAt(time) {
    return Math.round(Math.min(this.total - 1, Math.max(0, between(this.known, time, 1, 0))));
  }

  get whole() {
    return this.first === 0 && this.last === this.total - 1;
  }

  setCursor(tick) {
    const next = Math.round(Math.min(this.total - 1, Math.max(0, tick)));
    if (next === this.cursor || Number.isNaN(next)) return;
    this.cursor = next;
    if (next < this.first || next > this.last) { // the window follows
      const width = this.last - this.first;
      const first = Math.min(Math.max(0, next - Math.round(width / 2)), this.total - 1 - width);
      this.setRange(first, first + width);
    }
    this.dispatchEvent(new Event("cursor"));
  }

  setHover(tick) {
    if (tick === this.hover) return;
    this.hover = tick;
    this.dispatchEvent(new Event("hover"));
  }

  setRange(first, last) {
    let [from, to] = [Math.round(Math.min(first, last)), Math.round(Math.max(first, last))];
    if (to - from < LEAST_TICKS) {
      const middle = (from + to) / 2;
      [from, to] = [Math.floor(middle - LEAST_TICKS / 2), Math.ceil(middle + LEAST_TICKS / 2)];
    }
    from = Math.max(0, from);
    to = Math.min(this.total - 1, to);
    if (from === this.first && to === this.last) return;
    [this.first, this.last] = [from, to];
    this.dispatchEvent(new Event("range"));
    this.setCursor(Math.min(to, Math.max(from, this.cursor))); // what is read is what is seen
  }

  /** Zoom about a tick: factor 0.5 shows half as much. */
  zoom(factor, about = this.cursor) {
    const from = about - (about - this.first) * factor;
    this.setRange(from, from + (this.last - this.first) * factor);
  }

  reset() {
    this.setRange(0, this.total - 1);
  }
}

function between(pairs, value, from, to) {
  const count = pairs.length;
  if (count === 0) return 0;
  if (count === 1) return pairs[0][to];
  let [low, high] = [0, count - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (pairs[middle][from] <= value) low = middle;
    else high = middle;
  }
  const [a, b] = [pairs[low], pairs[high]];
  return a[to] + ((value - a[from]) / (b[from] - a[from])) * (b[to] - a[to]);
}
