// All nodes, and one of them.

import { get, path, settings } from "./api.js";
import { link } from "./app.js";
import { fill, h } from "./dom.js";
import { follow } from "./topics.js";
import { badge, number, paused, span, table } from "./tables.js";

const name = (row) => `${row.broadcast_address.includes(":") ? `[${row.broadcast_address}]` : row.broadcast_address}:${row.http_port}`;

export async function nodesPage(main) {
  const body = h("div", {});
  const draw = (told) => {
    const nodes = told.nodes ?? [];
    const lookupds = settings.nsqlookupds.length;
    const has = (key) => nodes.some((row) => row[key]);
    fill(body, h("h1", {}, "Nodes"), table({
      name: "nodes", caption: `${number(nodes.length)} nodes`, rows: nodes, again: () => draw(told),
      columns: [
        { name: "Hostname", cell: (row) => link(path`/nodes/${name(row)}`, row.hostname || name(row)), value: (row) => row.hostname },
        { name: "Broadcast address", cell: (row) => row.broadcast_address, value: (row) => row.broadcast_address },
        { name: "TCP", numeric: true, cell: (row) => String(row.tcp_port) },
        { name: "HTTP", numeric: true, cell: (row) => String(row.http_port) },
        { name: "Version", cell: (row) => [row.version, " ", row.out_of_date && badge("out of date", "warn")], value: (row) => row.version },
        has("topology_region") && { name: "Region", cell: (row) => row.topology_region ?? "" },
        has("topology_zone") && { name: "Zone", cell: (row) => row.topology_zone ?? "" },
        has("remote_addresses") && {
          name: "nsqlookupds",
          cell: (row) => {
            const known = row.remote_addresses ?? [];
            return h("details", {}, h("summary", {}, `${known.length} `, lookupds && known.length !== lookupds ? badge(`of ${lookupds}`, "warn") : null), h("ul", {}, known.map((one) => h("li", {}, one))));
          },
        },
        {
          name: "Topics", numeric: true, value: (row) => row.topics?.length ?? 0,
          cell: (row) => {
            const topics = row.topics ?? [];
            if (!topics.length) return "0";
            return h("details", {}, h("summary", {}, number(topics.length)), h("ul", {}, topics.map((one) => h("li", {}, link(path`/topics/${one.topic}`, one.topic), " ", one.tombstoned && badge("tombstoned", "warn")))));
          },
        },
      ].filter(Boolean),
    }));
  };
  // What is open stays open: this page is drawn once.
  draw(await get("/api/nodes"));
  fill(main, body);
}

export async function nodePage(main, node) {
  const body = h("div", {});
  const count = (title, key) => ({ name: title, numeric: true, cell: (row) => number(row[key]), value: (row) => row[key] ?? 0 });
  const draw = (told) => {
    const topics = told.topics ?? [];
    const channels = topics.flatMap((topic) => (topic.channels ?? []).map((channel) => ({ ...channel, topic: topic.topic_name })));
    const clients = channels.flatMap((channel) => (channel.clients ?? []).map((client) => ({ ...client, topic: channel.topic, channel: channel.channel_name })));
    const redraw = () => draw(told);
    fill(body, h("h1", {}, node),
      h("p", {}, `${number(told.total_messages)} messages, ${number(told.total_clients)} consumers`),
      h("h2", {}, "Topics"),
      table({
        name: "node-topics", caption: `Topics of ${node}`, rows: topics, again: redraw,
        columns: [
          { name: "Topic", cell: (row) => [link(path`/topics/${row.topic_name}`, row.topic_name), " ", paused(row)], value: (row) => row.topic_name },
          count("Depth", "depth"), count("Memory", "memory_depth"), count("Disk", "backend_depth"), count("Messages", "message_count"),
          { name: "Channels", numeric: true, cell: (row) => number(row.channels?.length ?? 0), value: (row) => row.channels?.length ?? 0 },
        ],
      }),
      h("h2", {}, "Channels"),
      table({
        name: "node-channels", caption: `Channels of ${node}`, rows: channels, again: redraw,
        columns: [
          { name: "Channel", cell: (row) => [link(path`/topics/${row.topic}/${row.channel_name}`, `${row.topic} / ${row.channel_name}`), " ", paused(row)], value: (row) => `${row.topic} ${row.channel_name}` },
          count("Depth", "depth"), count("In flight", "in_flight_count"), count("Deferred", "deferred_count"), count("Requeued", "requeue_count"),
          count("Timed out", "timeout_count"), count("Messages", "message_count"), count("Connections", "client_count"),
        ],
      }),
      h("h2", {}, "Clients"),
      table({
        name: "node-clients", caption: `Consumers of ${node}`, rows: clients, again: redraw, empty: "Nobody consumes from this node.",
        columns: [
          { name: "Client", cell: (row) => [row.hostname || row.client_id, h("small", {}, row.remote_address)], value: (row) => row.hostname },
          { name: "Channel", cell: (row) => link(path`/topics/${row.topic}/${row.channel}`, `${row.topic} / ${row.channel}`), value: (row) => `${row.topic} ${row.channel}` },
          count("In flight", "in_flight_count"), count("Ready", "ready_count"), count("Finished", "finish_count"), count("Messages", "message_count"),
          { name: "Connected", numeric: true, cell: (row) => span(row.connected / 1e9), value: (row) => row.connected },
        ],
      }));
  };
  const following = follow(() => get(path`/api/nodes/${node}`), draw);
  fill(main, body);
  fill(body, h("h1", {}, node));
  await following.again();
  return following.end;
}
