// Drawn by hand onto a plot's canvas: stacked areas, trigger lines, marks of orders.

import { colour } from "../theme.js";

/** Stack of parts that may be negative: what is above zero is piled up, what is below piled down. */
export function stack(data, parts) {
  const columns = parts.map((part) => data.columns[part.name] ?? []);
  const count = data.seconds.length;
  const [high, low, total] = [new Array(count), new Array(count), new Array(count)];
  for (let i = 0; i < count; i += 1) {
    let [up, down] = [0, 0];
    for (const column of columns) {
      const value = column[i] ?? 0;
      if (value > 0) up += value;
      else down += value;
    }
    high[i] = up;
    low[i] = down;
    total[i] = up + down;
  }
  return [high, low, total];
}

/** Paint the areas of a stack, first part nearest to zero. */
export function paintStack(u, panel) {
  const { data } = panel.source;
  if (!data) return;
  const count = data.seconds.length;
  const x = data.seconds.map((seconds) => u.valToPos(seconds, "x", true));
  const [up, down] = [new Float64Array(count), new Float64Array(count)];
  clipped(u, (context) => {
    for (const part of panel.shown()) {
      const column = data.columns[part.name];
      if (!column) continue;
      context.fillStyle = colour(part.color);
      context.globalAlpha = 0.82;
      for (const [base, positive] of [[up, true], [down, false]]) {
        const inner = Float64Array.from(base);
        let any = false;
        for (let i = 0; i < count; i += 1) {
          const value = column[i] ?? 0;
          if (value > 0 === positive && value !== 0) {
            base[i] += value;
            any = true;
          }
        }
        if (any) area(u, context, x, inner, base);
      }
    }
  });
}

function area(u, context, x, inner, outer) {
  context.beginPath();
  x.forEach((at, i) => context[i ? "lineTo" : "moveTo"](at, u.valToPos(outer[i], "y", true)));
  for (let i = x.length - 1; i >= 0; i -= 1) context.lineTo(x[i], u.valToPos(inner[i], "y", true));
  context.fill();
}

function clipped(u, work) {
  const { ctx: context, bbox } = u;
  context.save();
  context.beginPath();
  context.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  context.clip();
  work(context, bbox);
  context.restore();
}

/** Lines at the levels that a strategy acts on, named at the right. */
export function paintTriggers(u, panel) {
  const ratio = devicePixelRatio || 1;
  clipped(u, (context, box) => {
    context.font = `600 ${11 * ratio}px ${colour("sans")}`;
    context.textAlign = "right";
    context.lineWidth = 1.25 * ratio;
    for (const { value, label, color, grave } of panel.triggers ?? []) {
      context.setLineDash(grave ? [] : [6 * ratio, 4 * ratio]);
      const y = u.valToPos(value, "y", true);
      context.strokeStyle = context.fillStyle = colour(color);
      context.beginPath();
      context.moveTo(box.left, y);
      context.lineTo(box.left + box.width, y);
      context.stroke();
      context.fillText(label, box.left + box.width - 10 * ratio, grave ? y + 13 * ratio : y - 5 * ratio);
    }
  });
}

/** A line where the value is zero. */
export function paintZero(u) {
  clipped(u, (context, box) => {
    const y = u.valToPos(0, "y", true);
    context.strokeStyle = colour("line-strong");
    context.lineWidth = devicePixelRatio || 1;
    context.beginPath();
    context.moveTo(box.left, y);
    context.lineTo(box.left + box.width, y);
    context.stroke();
  });
}

/** Small triangles at the ground of a chart: where there were orders. */
export function paintOrders(u, view, ticks) {
  const ratio = devicePixelRatio || 1;
  clipped(u, (context, box) => {
    const ground = box.top + box.height;
    context.fillStyle = colour("accent");
    context.globalAlpha = 0.75;
    let before = -Infinity;
    for (const tick of ticks) {
      const x = u.valToPos(view.timeOf(tick) / 1000, "x", true);
      if (x - before < 2 * ratio) continue;
      before = x;
      context.beginPath();
      context.moveTo(x, ground - 7 * ratio);
      context.lineTo(x - 3.5 * ratio, ground);
      context.lineTo(x + 3.5 * ratio, ground);
      context.fill();
    }
  });
}
