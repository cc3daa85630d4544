// Lines over time, as SVG. Points are [seconds, value]; a gap in time is a gap in the line.

import { h } from "./dom.js";
import { number, rate } from "./tables.js";

// On a phone the same letters take more of the width.
const WIDTH = innerWidth < 640 ? 360 : 720;
const HEIGHT = 200;
const LEFT = 64;
const BOTTOM = 24;

function top(most) {
  const step = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * step).find((bound) => bound >= most) ?? most;
}

// lines: { name, kind, points }. `unit` is "rate" or "count".
export function chart({ title, lines, unit }) {
  const begin = Math.min(...lines.flatMap((line) => line.points.map((point) => point[0])), Infinity);
  const now = Math.max(...lines.flatMap((line) => line.points.map((point) => point[0])), 0);
  if (!now) return h("p", { class: "empty" }, "No figures yet.");
  // The last hour, or as much as there is of it.
  const seconds = Math.min(3600, Math.max(300, now - begin));
  const from = now - seconds;
  const shown = lines.map((line) => ({ ...line, points: line.points.filter((point) => point[0] >= from) }));
  const most = top(Math.max(...shown.flatMap((line) => line.points.map((point) => point[1])), 1));
  const x = (time) => LEFT + ((time - from) / seconds) * (WIDTH - LEFT - 8);
  const y = (value) => 8 + (1 - value / most) * (HEIGHT - BOTTOM - 8);
  const format = unit === "rate" ? rate : number;
  const grid = [0, 0.5, 1].map((part) => h("g", {},
    h("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(most * part), y2: y(most * part) }),
    h("text", { x: LEFT - 8, y: y(most * part) + 4, "text-anchor": "end" }, format(most * part))));
  const marks = (WIDTH < 500 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]).map((part) => {
    const time = new Date((from + seconds * part) * 1000);
    const text = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return h("text", { x: x(from + seconds * part), y: HEIGHT - 6, "text-anchor": part === 1 ? "end" : part ? "middle" : "start" }, text);
  });
  const paths = shown.map((line) => {
    let last = null;
    const steps = line.points.map(([time, value]) => {
      const command = last !== null && time - last <= 30 ? "L" : "M";
      last = time;
      return `${command}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    return h("path", { class: `line ${line.kind}`, d: steps.join("") || "M0 0" });
  });
  const latest = shown.map((line) => `${line.name} ${format(line.points.at(-1)?.[1])}`).join(", ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, title, h("span", { class: "legend" }, shown.map((line) => h("span", { class: `key ${line.kind}` }, line.name)))),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}; now: ${latest}` }, grid, marks, paths));
}

// Keeps the last hour of counters and gives rates between them.
export class Memory {
  constructor() {
    this.points = new Map();
  }

  add(key, time, value) {
    const points = this.points.get(key) ?? [];
    points.push([time, value]);
    while (points.length && points[0][0] < time - 3700) points.shift();
    this.points.set(key, points);
  }

  // The rate between the last two points, or over `over` seconds.
  rate(key, over = 6) {
    const points = this.points.get(key) ?? [];
    const last = points.at(-1);
    if (!last) return null;
    const first = points.find((point) => point[0] >= last[0] - over) ?? points[0];
    return last[0] > first[0] ? Math.max(0, (last[1] - first[1]) / (last[0] - first[0])) : null;
  }

  rates(key) {
    const points = this.points.get(key) ?? [];
    return points.slice(1).map(([time, value], at) => [time, Math.max(0, (value - points[at][1]) / (time - points[at][0]))]);
  }

  values(key) {
    return this.points.get(key) ?? [];
  }
}
