// All topics, live.

import { live } from "./api.js";
import { banner, link } from "./app.js";
import { Memory } from "./chart.js";
import { field, fill, h } from "./dom.js";
import { sparkline } from "./graphite.js";
import { number, paused, rate, table } from "./tables.js";
import { path } from "./api.js";

export function streamsPage(main) {
  const memory = new Memory();
  const filter = h("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
  const list = h("div", {}, h("p", { class: "empty", "aria-busy": "true" }, "Asking the nodes …"));
  let figures = null;

  const draw = () => {
    if (!figures) return;
    const wanted = filter.value.trim().toLowerCase();
    const rows = Object.entries(figures.topics)
      .map(([topic, sum]) => ({ topic, ...sum, rate: memory.rate(topic) }))
      .filter((row) => row.topic.toLowerCase().includes(wanted));
    const sum = (key) => rows.reduce((all, row) => all + (row[key] ?? 0), 0);
    const counts = ["depth", "in_flight", "deferred", "messages", "rate", "channels", "clients"];
    const total = Object.fromEntries(counts.map((key) => [key, sum(key)]));
    const count = (name, key) => ({ name, numeric: true, cell: (row) => number(row[key]), value: (row) => row[key] ?? 0 });
    fill(list, table({
      name: "streams",
      caption: `${number(rows.length)} topics`,
      empty: wanted ? "No topic has that in its name." : "There are no topics.",
      rows,
      total: rows.length > 1 ? total : undefined,
      again: draw,
      columns: [
        { name: "Topic", cell: (row) => (row.topic ? [link(path`/topics/${row.topic}`, row.topic), " ", paused(row)] : "All"), value: (row) => row.topic, total: () => "All" },
        count("Depth", "depth"), count("In flight", "in_flight"), count("Deferred", "deferred"), count("Messages", "messages"),
        { name: "Rate", numeric: true, cell: (row) => rate(row.rate), value: (row) => row.rate ?? -1 },
        count("Channels", "channels"), count("Clients", "clients"),
        sparkline() && { name: "Graph", cell: (row) => row.topic && sparkline(row.topic, null, "depth") },
      ].filter(Boolean),
    }));
  };

  filter.addEventListener("input", draw);
  fill(main, h("h1", {}, "Streams"), field("Filter", filter), list);
  return live("topics", (told) => {
    figures = told;
    const now = Date.now() / 1000;
    for (const [topic, sum] of Object.entries(told.topics)) memory.add(topic, now, sum.messages);
    banner("warn", told.message);
    draw();
  }, (words) => banner("error", words));
}
