// Numbers, times, and tables that can be sorted.

import { h } from "./dom.js";

const plain = new Intl.NumberFormat();

export const number = (value) => (value === undefined || value === null ? "–" : plain.format(value));

export function rate(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  const digits = value > 0 && value < 100 ? 1 : 0;
  return `${value.toLocaleString(undefined, { maximumFractionDigits: digits })}/s`;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${value.toLocaleString(undefined, { maximumFractionDigits: at ? 1 : 0 })} ${units[at]}`;
}

export function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const since = (unix) => span(Math.max(0, Date.now() / 1000 - unix));

export function latency(nanoseconds) {
  if (nanoseconds >= 1e9) return `${(nanoseconds / 1e9).toFixed(2)} s`;
  if (nanoseconds >= 1e6) return `${(nanoseconds / 1e6).toFixed(1)} ms`;
  return `${Math.round(nanoseconds / 1e3)} µs`;
}

// How tables are sorted is remembered as long as the page is open.
const orders = new Map();

// columns: { name, cell(row), value(row)?, numeric? }. A column with a `value` can be sorted by.
export function table({ name, caption, columns, rows, total, again, empty = "Nothing here." }) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const order = orders.get(name);
  const by = order && columns.find((column) => column.name === order.column);
  const sorted = [...rows];
  if (by?.value) {
    sorted.sort((one, other) => {
      const [a, b] = [by.value(one), by.value(other)];
      const way = typeof a === "string" ? a.localeCompare(b) : a - b;
      return order.down ? -way : way;
    });
  }
  const head = columns.map((column) => {
    const isBy = order?.column === column.name;
    const sort = isBy ? (order.down ? "descending" : "ascending") : undefined;
    const pick = () => {
      orders.set(name, { column: column.name, down: isBy ? !order.down : Boolean(column.numeric) });
      again?.();
    };
    const label = column.value && again
      ? h("button", { class: "sort", type: "button", id: `sort-${name}-${column.name}`, onclick: pick }, column.name, isBy && h("span", { "aria-hidden": "true" }, order.down ? " ↓" : " ↑"))
      : column.name;
    return h("th", { scope: "col", class: column.numeric ? "n" : undefined, "aria-sort": sort }, label);
  });
  const line = (row, kind) => h("tr", { class: kind }, columns.map((column, at) => {
    const cell = kind === "total" && column.total ? column.total(row) : column.cell(row);
    return h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : undefined, class: column.numeric ? "n" : undefined, "data-label": column.name }, cell);
  }));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, sorted.map((row) => line(row)), total && line(total, "total"))));
}

export const badge = (text, kind) => h("span", { class: `badge ${kind ?? ""}` }, text);
export const paused = (row) => row.paused && badge("paused", "warn");

// Percentiles of a latency, the highest first.
export function percentiles(latencies) {
  const all = latencies?.percentiles ?? [];
  return all.map((one) => h("span", { class: "pair" }, `p${+(one.quantile * 100).toFixed(2)} ${latency(one.max ?? one.value ?? 0)}`));
}
