// A topic, and a channel of it: figures per node, and what can be done.

import { ask, get, mayOperate, path } from "./api.js";
import { banner, complain, go, link } from "./app.js";
import { confirmed, fill, h } from "./dom.js";
import { large } from "./graphite.js";
import { badge, number, paused, percentiles, span, table } from "./tables.js";

const EVERY = 3000;

const count = (name, key) => ({ name, numeric: true, cell: (row) => number(row[key]), value: (row) => row[key] ?? 0 });
const split = { name: "Memory + disk", numeric: true, cell: (row) => `${number(row.memory_depth)} + ${number(row.backend_depth)}` };
// Latencies, where they are tracked.
const times = (rows) => rows.some((row) => row.e2e_processing_latency?.percentiles?.length) && [{ name: "Latency", cell: (row) => percentiles(row.e2e_processing_latency) }];
const node = {
  name: "Node",
  cell: (row) => (row.node === "*" ? "All" : [link(path`/nodes/${row.node}`, row.node), " ", paused(row)]),
  value: (row) => row.node,
};

// Figures that only Leveret's nodes have, where there are any.
const lost = (rows) => [["Dropped", "dropped_count"], ["Expired", "expired_count"], ["Dead letters", "dead_letter_count"]]
  .filter(([, key]) => rows.some((row) => row[key]))
  .map(([name, key]) => count(name, key));

// Shows something anew every few seconds, and after each action.
export function follow(load, draw) {
  let timer = null;
  let ended = false;
  const again = async () => {
    clearTimeout(timer);
    try {
      const told = await load();
      if (ended) return;
      banner("warn", told.message);
      draw(told, again);
    } catch (error) {
      if (!ended) complain(error);
    }
    if (!ended) timer = setTimeout(again, document.hidden ? EVERY * 5 : EVERY);
  };
  return {
    again,
    end: () => {
      ended = true;
      clearTimeout(timer);
    },
  };
}

function button(text, danger, act) {
  return h("button", { type: "button", class: danger ? "danger" : undefined, onclick: act }, text);
}

// Pause, empty and delete, of a topic or a channel.
function actions(kind, name, to, row, after, away) {
  if (!mayOperate()) return null;
  const send = async (method, body, done) => {
    try {
      const told = await ask(method, to, body);
      banner(told.message ? "warn" : "done", told.message || done);
      return true;
    } catch (error) {
      complain(error);
      return false;
    }
  };
  const pause = async () => {
    const action = row.paused ? "unpause" : "pause";
    const text = `Consumers get nothing from ${name} until it goes on. Messages are kept.`;
    if (action === "pause" && !(await confirmed(`Pause this ${kind}?`, text, "Pause", false))) return;
    if (await send("POST", { action }, `${name}: ${action}d.`)) after();
  };
  const empty = async () => {
    const text = `All messages of ${name} that wait or are with consumers are thrown away on every node.`;
    if (await confirmed(`Empty this ${kind}?`, text, "Empty") && await send("POST", { action: "empty" }, `${name} is empty.`)) after();
  };
  const remove = async () => {
    const text = `${name} is deleted with all its messages, on every node and at every nsqlookupd.`;
    if (await confirmed(`Delete this ${kind}?`, text, "Delete") && await send("DELETE", undefined, "")) {
      go(away);
      banner("done", `${name} is deleted.`);
    }
  };
  return h("div", { class: "actions" },
    button(row.paused ? "Unpause" : "Pause", false, pause), button("Empty", true, empty), button(`Delete ${kind}`, true, remove));
}

async function tombstone(topic, row, after) {
  const text = `nsqlookupds do not tell of ${row.node} for ${topic} for a while, and the node forgets the topic with its messages.`;
  if (!(await confirmed("Tombstone this node?", text, "Tombstone"))) return;
  try {
    const told = await ask("DELETE", path`/api/nodes/${row.node}`, { topic });
    banner(told.message ? "warn" : "done", told.message || `${row.node} is tombstoned for ${topic}.`);
    after();
  } catch (error) {
    complain(error);
  }
}

export async function topicPage(main, topic) {
  const body = h("div", {});
  const draw = (told, again) => {
    const nodes = told.nodes ?? [];
    const channels = told.channels ?? [];
    const redraw = () => draw(told, again);
    const cross = mayOperate() && { name: "Tombstone", cell: (row) => row.node !== "*" && h("button", { type: "button", class: "small", onclick: () => tombstone(topic, row, again) }, "Tombstone") };
    fill(body,
      h("div", { class: "title" }, h("h1", {}, topic), paused(told)),
      actions("topic", topic, path`/api/topics/${topic}`, told, again, "/"),
      large(topic, null, ["depth", "message_count"]),
      h("h2", {}, "Nodes"),
      table({
        name: "topic-nodes", caption: `Nodes with ${topic}`, again: redraw, empty: "No node has this topic.",
        rows: nodes.map((row) => ({ ...row, count: row.channels?.length ?? 0 })),
        total: nodes.length > 1 ? { ...told, count: channels.length } : undefined,
        columns: [node, count("Depth", "depth"), split, count("Messages", "message_count"), count("Channels", "count"), ...lost(nodes), ...(times(nodes) || []), cross].filter(Boolean),
      }),
      h("h2", {}, "Channels"),
      table({
        name: "topic-channels", caption: `Channels of ${topic}`, again: redraw, rows: channels,
        empty: "No channel has been made: messages wait in the topic for the first one.",
        columns: [
          { name: "Channel", cell: (row) => [link(path`/topics/${topic}/${row.channel_name}`, row.channel_name), " ", paused(row)], value: (row) => row.channel_name },
          count("Depth", "depth"), split, count("In flight", "in_flight_count"), count("Deferred", "deferred_count"),
          count("Requeued", "requeue_count"), count("Timed out", "timeout_count"), count("Messages", "message_count"),
          count("Connections", "client_count"), ...lost(channels), ...(times(channels) || []),
        ],
      }));
  };
  const following = follow(() => get(path`/api/topics/${topic}`), draw);
  fill(main, body);
  fill(body, h("h1", {}, topic));
  await following.again();
  return following.end;
}

const reasons = {
  halting: "the node stops", paused: "the channel is paused", ready: "its RDY is 0", in_flight: "it holds as many as its RDY",
  topic_paused: "the topic is paused", messages: "nothing waits", limit: "the channel's rate",
};

function attributes(client) {
  const tls = client.tls && h("span", { class: "badge", title: `${client.tls_version} ${client.tls_cipher_suite}` }, "TLS");
  return [
    client.sample_rate > 0 && badge(`Sampled ${client.sample_rate} %`), tls, client.deflate && badge("Deflate"), client.snappy && badge("Snappy"),
    client.authed && h("span", { class: "badge" }, "Authed ", client.auth_identity_url ? h("a", { href: client.auth_identity_url, rel: "noreferrer" }, client.auth_identity) : client.auth_identity),
    client.topology_region && badge(`region ${client.topology_region}`), client.topology_zone && badge(`zone ${client.topology_zone}`),
    client.topology_zone && client.topology_zone === client.node_topology_zone && badge("zone local", "good"),
  ];
}

// What part of the deliveries stayed near, if that is counted.
function nearness(row) {
  const all = row.delivery_msg_count;
  if (!all) return "–";
  const part = (value) => `${Math.round(((value ?? 0) / all) * 100)} %`;
  return ["zone", "region", "global"].map((near, at) => h("span", { class: "pair" }, `${near} ${part([row.zone_local_msg_count, row.region_local_msg_count, row.global_msg_count][at])}`));
}

export async function channelPage(main, topic, channel) {
  const body = h("div", {});
  const name = `${topic} / ${channel}`;
  const draw = (told, again) => {
    const nodes = told.nodes ?? [];
    const clients = told.clients ?? [];
    const redraw = () => draw(told, again);
    const isNear = nodes.some((row) => row.zone_local_msg_count || row.region_local_msg_count);
    fill(body,
      h("div", { class: "title" }, h("h1", {}, link(path`/topics/${topic}`, topic), " / ", channel), paused(told)),
      h("div", { class: "actions" },
        actions("channel", name, path`/api/topics/${topic}/${channel}`, told, again, `/topics/${encodeURIComponent(topic)}`),
        h("a", { class: "button", href: link(`/messages?topic=${encodeURIComponent(topic)}&channel=${encodeURIComponent(channel)}`).href }, "Look at messages")),
      large(topic, channel, ["depth", "in_flight_count", "message_count"]),
      h("h2", {}, "Nodes"),
      table({
        name: "channel-nodes", caption: `Nodes with ${name}`, again: redraw, rows: nodes,
        total: nodes.length > 1 ? told : undefined,
        columns: [
          node, count("Depth", "depth"), split, count("In flight", "in_flight_count"), count("Deferred", "deferred_count"),
          count("Requeued", "requeue_count"), count("Timed out", "timeout_count"), count("Messages", "message_count"),
          isNear && { name: "Delivered", cell: nearness }, count("Connections", "client_count"), ...lost(nodes), ...(times(nodes) || []),
        ].filter(Boolean),
      }),
      h("h2", {}, "Client connections"),
      table({
        name: "clients", caption: `Consumers of ${name}`, again: redraw, rows: clients, empty: "Nobody consumes this channel.",
        columns: [
          { name: "Client", cell: (row) => [row.hostname || row.client_id, h("small", {}, row.remote_address)], value: (row) => row.hostname },
          { name: "User agent", cell: (row) => row.user_agent || "–", value: (row) => row.user_agent },
          { name: "Attributes", cell: attributes },
          { name: "Node", cell: (row) => link(path`/nodes/${row.node}`, row.node), value: (row) => row.node },
          count("In flight", "in_flight_count"), count("Ready", "ready_count"), count("Finished", "finish_count"),
          count("Requeued", "requeue_count"), count("Messages", "message_count"),
          clients.some((row) => row.waiting_for) && { name: "Gets nothing, since", cell: (row) => reasons[row.waiting_for] ?? row.waiting_for ?? "" },
          { name: "Connected", cell: (row) => span(row.connected / 1e9), value: (row) => row.connected, numeric: true },
        ].filter(Boolean),
      }));
  };
  const following = follow(() => get(path`/api/topics/${topic}/${channel}`), draw);
  fill(main, body);
  fill(body, h("h1", {}, name));
  await following.again();
  return following.end;
}

