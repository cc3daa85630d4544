// The flows of Leveret's nodes: live pictures of them, and what can be done; and their connections to brokers.

import { ask, get, live, mayOperate, path } from "./api.js";
import { banner, complain, go, link } from "./app.js";
import { Memory, chart } from "./chart.js";
import { confirmed, field, fill, h } from "./dom.js";
import { badge, bytes, number, rate, since, span, table } from "./tables.js";

const kinds = { running: "good", idle: "", waiting: "warn", failed: "bad", paused: "warn", up: "good", connecting: "warn", blocked: "bad" };
const state = (row) => badge(row.state, kinds[row.state]);

const all = (told, key) => told.nodes.flatMap((node) => (node[key] ?? []).map((one) => ({ ...one, node: node.node })));

function warn(told) {
  banner("warn", told.message);
  for (const node of told.nodes) if (node.error) banner("warn", `${node.node}: ${node.error}`);
}

function remember(memory, told) {
  const now = Date.now() / 1000;
  for (const row of all(told, "routes")) {
    const key = `${row.node} ${row.name}`;
    memory.add(`${key} in`, now, row.counters.received);
    memory.add(`${key} out`, now, row.counters.confirmed);
    memory.add(`${key} pending`, now, row.pending);
  }
}

export function routesPage(main) {
  const memory = new Memory();
  const body = h("div", {}, h("p", { class: "empty", "aria-busy": "true" }, "Asking the nodes …"));
  const draw = (told) => {
    const rows = all(told, "routes").map((row) => ({ ...row, in: memory.rate(`${row.node} ${row.name} in`), out: memory.rate(`${row.node} ${row.name} out`) }));
    fill(body, table({
      name: "routes", caption: `${number(rows.length)} routes`, rows, again: () => draw(told),
      empty: "No node has routes.",
      columns: [
        { name: "Route", cell: (row) => link(path`/routes/${row.node}/${row.name}`, row.name), value: (row) => row.name },
        { name: "State", cell: (row) => [state(row), row.reason && row.state !== "running" && h("small", {}, row.reason)], value: (row) => row.state },
        { name: "From → to", cell: (row) => h("span", { class: "flow" }, h("code", {}, row.from), " → ", h("code", {}, row.to)) },
        { name: "In", numeric: true, cell: (row) => rate(row.in), value: (row) => row.in ?? -1 },
        { name: "Out", numeric: true, cell: (row) => rate(row.out), value: (row) => row.out ?? -1 },
        { name: "Pending", numeric: true, cell: (row) => number(row.pending), value: (row) => row.pending },
        { name: "Lag", numeric: true, cell: (row) => number(row.lag), value: (row) => row.lag ?? -1 },
        { name: "Dead letters", numeric: true, cell: (row) => number(row.counters.dead_lettered), value: (row) => row.counters.dead_lettered },
        { name: "Node", cell: (row) => row.node, value: (row) => row.node },
      ],
    }));
  };
  fill(main, h("h1", {}, "Routes"), body);
  return live("nodes", (told) => {
    warn(told);
    remember(memory, told);
    draw(told);
  }, (words) => banner("error", words));
}

function stage(title, text, ...more) {
  return h("li", { class: "stage" }, h("strong", {}, title), h("code", {}, text), more);
}

function limitText(limit) {
  const parts = [];
  if (limit.messages_per_second !== null) parts.push(`${number(limit.messages_per_second)} messages/s`);
  if (limit.bytes_per_second !== null) parts.push(`${bytes(limit.bytes_per_second)}/s`);
  return parts.join(", ");
}

// The way of a message through the route, with what it does there.
function picture(row, incoming, outgoing) {
  const limit = row.limit;
  const isThrottled = limit && (limit.projected_wait_seconds > 0 || limit.parked > 0);
  return h("ol", { class: `picture ${row.state}`, "aria-label": "The way of a message" },
    stage("From", row.from, h("span", {}, rate(incoming), " in"), row.lag !== undefined && h("span", {}, number(row.lag), " wait there")),
    limit && stage("Limit", limitText(limit),
      isThrottled ? badge("throttled", "warn") : badge("open", "good"),
      h("span", {}, span(limit.throttled_seconds), " spent waiting"),
      limit.parked > 0 && h("span", {}, number(limit.parked), " parked"),
      limit.keys !== null && h("span", {}, number(limit.keys), " keys")),
    row.transform && stage("Transform", "when, templates, headers", row.counters.filtered > 0 && h("span", {}, number(row.counters.filtered), " filtered")),
    stage("Window", row.window ? `${number(row.pending)} of ${number(row.window)}` : number(row.pending),
      row.window && h("meter", { min: 0, max: row.window, value: row.pending, "aria-label": "Pending messages" })),
    stage("To", row.to, h("span", {}, rate(outgoing), " out"), row.counters.retried > 0 && h("span", {}, number(row.counters.retried), " retried")));
}

const counters = [
  ["received", "Received"], ["bytes_received", "Bytes received"], ["confirmed", "Confirmed"], ["retried", "Retried"], ["returned", "Returned as unroutable"],
  ["nacked", "Refused by nack"], ["dead_lettered", "Dead letters"], ["dropped", "Dropped"], ["filtered", "Filtered"], ["redelivered", "Sent again"],
  ["rejected", "Rejected"], ["rejected_by_limit", "Rejected by the limit"], ["dropped_by_limit", "Dropped by the limit"], ["excess", "In excess"], ["given_back", "Given back"],
];

function at(to, node, name, rest = "") {
  return to`/api/leveret/${node}/v1/routes/${name}` + rest;
}

export async function routePage(main, node, name) {
  const memory = new Memory();
  const body = h("div", {}, h("p", { class: "empty", "aria-busy": "true" }, "Asking the node …"));
  const plot = h("div", { class: "charts" });
  const editor = h("div", {});
  const buttons = h("div", { class: "actions" });
  const key = `${node} ${name}`;

  const act = async (what, title, text) => {
    if (title && !(await confirmed(title, text, title.split(" ")[0], false))) return;
    try {
      await ask("POST", at(path, node, name, `/${what}`));
      banner("done", `${name}: ${what} is done.`);
    } catch (error) {
      complain(error);
    }
  };
  const controls = (row) => mayOperate() && fill(buttons,
    row.state === "paused"
      ? h("button", { type: "button", id: "resume", onclick: () => act("resume") }, "Resume")
      : h("button", { type: "button", id: "pause", onclick: () => act("pause", "Pause this route?", "It takes no more messages until it is resumed; nothing is lost. A direct route's producers are refused.") }, "Pause"),
    h("button", { type: "button", id: "drain", onclick: () => act("drain", "Drain this route?", "It is paused, and what it has taken is settled.") }, "Drain"),
    h("button", { type: "button", id: "reset", onclick: () => act("reset", "Reset this route?", "It stops and starts anew. What is on its way may come twice.") }, "Reset"));

  const draw = (row) => {
    const [incoming, outgoing] = [memory.rate(`${key} in`), memory.rate(`${key} out`)];
    controls(row);
    fill(body,
      h("p", {}, `${row.mode}, since ${since(row.since)}`),
      row.reason && row.state !== "running" && h("p", { class: `banner ${row.state === "failed" ? "error" : "warn"}` }, row.reason),
      picture(row, incoming, outgoing),
      h("h2", {}, "Counts since the node started"),
      h("dl", { class: "counts" }, counters.map(([count, title]) => h("div", {}, h("dt", {}, title), h("dd", {}, count === "bytes_received" ? bytes(row.counters[count]) : number(row.counters[count]))))));
    fill(heading, name, " ", state(row));
    fill(plot,
      chart({ title: "Messages a second", unit: "rate", lines: [{ name: "in", kind: "one", points: memory.rates(`${key} in`) }, { name: "out", kind: "two", points: memory.rates(`${key} out`) }] }),
      chart({ title: "Pending", unit: "count", lines: [{ name: "pending", kind: "three", points: memory.values(`${key} pending`) }] }));
  };

  const heading = h("h1", {}, name);
  fill(main, h("p", {}, link("/routes", "← All routes"), ` on ${node}`), heading, buttons, body, plot, editor);

  // What the node remembers of the last hour.
  try {
    const history = await get(at(path, node, name, "/history"));
    history.received.forEach((value, index) => {
      const time = history.since + index * history.step;
      memory.add(`${key} in`, time, value);
      memory.add(`${key} out`, time, history.confirmed[index]);
      memory.add(`${key} pending`, time, history.pending[index]);
    });
  } catch (error) {
    if (error.status !== 404) complain(error);
  }
  await edit(editor, node, name);
  return live("nodes", (told) => {
    warn(told);
    remember(memory, told);
    const row = all(told, "routes").find((one) => one.node === node && one.name === name);
    if (row) draw(row);
    else fill(body, h("p", { class: "empty" }, "This node has no such route now."));
  }, (words) => banner("error", words));
}

// A line-by-line difference: what two texts have in common, in order, and what each has alone.
export function difference(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) {
      lines.push(["-", a[i]]);
      i += 1;
    } else {
      lines.push(["+", b[j]]);
      j += 1;
    }
  }
  return lines;
}

async function edit(place, node, name) {
  const told = await get(at(path, node, name)).catch(() => null);
  const definition = told?.definition;
  if (!definition) return;
  const kept = definition.text;
  const text = h("textarea", { spellcheck: "false", autocapitalize: "none", rows: Math.min(30, kept.split("\n").length + 2), value: kept, readonly: !mayOperate() });
  const result = h("div", { role: "status", "aria-live": "polite" });

  const check = async () => {
    try {
      const changes = await ask("PUT", at(path, node, name, "?dry_run=true"), text.value);
      const marks = { "+": "added", "-": "removed", " ": "" };
      const lines = difference(kept, text.value);
      const isSame = lines.every(([mark]) => mark === " ");
      fill(result,
        changes.warnings.length > 0 && h("ul", { class: "findings" }, changes.warnings.map((warning) => h("li", {}, warning))),
        h("h3", {}, isSame ? "Nothing differs." : "What would change"),
        !isSame && h("pre", { class: "diff" }, lines.map(([mark, line]) => h("span", { class: marks[mark] }, `${mark} ${line}\n`))),
        !isSame && h("p", {}, ["started", "changed", "retuned", "stopped"].filter((what) => changes[what].length).map((what) => `${what}: ${changes[what].join(", ")}`).join("; ") || "No route restarts."),
        !isSame && h("button", { type: "button", class: "primary", id: "apply", onclick: apply }, "Apply"));
    } catch (error) {
      fill(result, h("div", { class: "banner error", role: "alert" }, h("p", {}, error.message), error.detail && h("pre", {}, error.detail)));
    }
  };
  const apply = async () => {
    try {
      await ask("PUT", at(path, node, name), text.value);
      banner("done", `${name} is changed.`);
      await edit(place, node, name);
    } catch (error) {
      complain(error);
    }
  };
  const remove = async () => {
    if (!(await confirmed("Delete this route?", `${definition.file} is removed, and the route stops.`, "Delete"))) return;
    try {
      await ask("DELETE", at(path, node, name));
      go("/routes");
      banner("done", `${name} is deleted.`);
    } catch (error) {
      complain(error);
    }
  };
  fill(place, h("h2", {}, "Definition"), field(definition.file, text, mayOperate() ? "Nothing changes before it is checked and applied." : undefined),
    mayOperate() && h("div", { class: "actions" }, h("button", { type: "button", id: "check", onclick: check }, "Check"), h("button", { type: "button", class: "danger", onclick: remove }, "Delete route")),
    result);
}

export function brokersPage(main) {
  const body = h("div", {}, h("p", { class: "empty", "aria-busy": "true" }, "Asking the nodes …"));
  const draw = (told) => {
    fill(body, table({
      name: "brokers", caption: "Connections to brokers", rows: all(told, "brokers"), again: () => draw(told),
      empty: "No node is connected to a broker.",
      columns: [
        { name: "Broker", cell: (row) => row.name, value: (row) => row.name },
        { name: "For", cell: (row) => row.role, value: (row) => row.role },
        { name: "State", cell: (row) => [state(row), row.error && h("small", {}, row.error)], value: (row) => row.state },
        { name: "Host", cell: (row) => h("code", {}, row.address), value: (row) => row.address },
        { name: "Routes", numeric: true, cell: (row) => number(row.routes), value: (row) => row.routes ?? 0 },
        { name: "Since", numeric: true, cell: (row) => since(row.since), value: (row) => row.since },
        { name: "Attempts", numeric: true, cell: (row) => number(row.attempt), value: (row) => row.attempt },
        { name: "Node", cell: (row) => row.node, value: (row) => row.node },
      ],
    }));
  };
  fill(main, h("h1", {}, "Brokers"), body);
  return live("nodes", (told) => {
    warn(told);
    draw(told);
  }, (words) => banner("error", words));
}
