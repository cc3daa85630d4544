// Messages of a channel or of a broker's queue: looked at without taking them, put back, or thrown away.

import { ask, get, mayOperate, path } from "./api.js";
import { banner, complain } from "./app.js";
import { confirmed, field, fill, h } from "./dom.js";
import { badge, bytes, number, table } from "./tables.js";

function octets(message) {
  if (message.encoding === "base64") return Uint8Array.from(atob(message.body), (one) => one.charCodeAt(0));
  return new TextEncoder().encode(message.body);
}

function hex(message) {
  const all = octets(message);
  const lines = [];
  for (let at = 0; at < all.length && at < 4096; at += 16) {
    const row = [...all.slice(at, at + 16)];
    const codes = row.map((one) => one.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const text = row.map((one) => (one > 31 && one < 127 ? String.fromCharCode(one) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${codes}  ${text}`);
  }
  if (all.length > 4096) lines.push("…");
  return lines.join("\n");
}

function body(message) {
  let pretty = null;
  if (!message.encoding) {
    try {
      pretty = JSON.stringify(JSON.parse(message.body), null, 2);
    } catch { /* It is no JSON. */ }
  }
  const views = [pretty !== null && ["JSON", pretty], !message.encoding && ["Text", message.body], ["Hex", hex(message)]].filter(Boolean);
  const shown = h("pre", { class: "body" }, views[0][1]);
  const buttons = views.map(([name, text], at) => h("button", {
    type: "button", class: "small", "aria-pressed": String(at === 0),
    onclick: (event) => {
      shown.textContent = text;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.target));
    },
  }, name));
  return h("div", {}, h("div", { class: "views", role: "group", "aria-label": "How the body is shown" }, buttons, message.truncated && badge("cut", "warn")), shown);
}

export async function messagesPage(main) {
  const asked = new URLSearchParams(location.search);
  const overview = await get("/api/leveret");
  banner("warn", overview.message);
  const nodes = overview.nodes.filter((node) => node.routes);
  if (!nodes.length) {
    fill(main, h("h1", {}, "Messages"), h("p", { class: "empty" }, "Only Leveret's nodes can show messages, and none is here."));
    return;
  }
  const select = (options, value) => {
    const element = h("select", {}, options.map(([key, text]) => h("option", { value: key }, text)));
    if (value) element.value = value;
    return element;
  };
  const text = (value, name) => h("input", { value: value ?? "", name, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const kind = select([["channel", "a channel"], ["queue", "a broker's queue"]], asked.get("queue") ? "queue" : "channel");
  const node = select(nodes.map((one) => [one.node, one.node]), asked.get("node"));
  const topic = text(asked.get("topic"), "topic");
  const channel = text(asked.get("channel"), "channel");
  const broker = text(asked.get("broker") ?? "default", "broker");
  const queue = text(asked.get("queue"), "queue");
  const places = h("div", { class: "row" });
  const list = h("div", {});
  const picked = new Set();
  const to = text("", "to");

  const isQueue = () => kind.value === "queue";
  const arrange = () => fill(places,
    isQueue() ? [field("Broker", broker), field("Queue", queue)] : [field("Topic", topic), field("Channel", channel, "Empty: what no channel has got yet.")]);
  kind.addEventListener("change", () => {
    arrange();
    fill(list);
  });

  const from = () => path`/api/leveret/${node.value}`;
  const source = () => (isQueue()
    ? path`/v1/brokers/${broker.value.trim()}/messages`
    : channel.value.trim() ? "/channel/peek" : "/topic/peek");
  const query = () => {
    const named = isQueue() ? { queue: queue.value.trim() } : { topic: topic.value.trim(), ...(channel.value.trim() && { channel: channel.value.trim() }) };
    return `?${new URLSearchParams(named)}`;
  };

  const act = async (what, which) => {
    const count = which.all ? "All messages that wait" : `${number(which.ids.length)} message${which.ids.length > 1 ? "s" : ""}`;
    const isDiscard = what === "discard";
    const where = to.value.trim() ? `go to ${to.value.trim()}` : "go back to where they come from";
    const question = isDiscard ? `${count} of this place are thrown away for good.` : `${count} ${where}, and leave this place when they are there.`;
    if (!(await confirmed(isDiscard ? "Throw away?" : "Put back?", question, isDiscard ? "Throw away" : "Put back", isDiscard))) return;
    const body = { ...which };
    if (!isDiscard && to.value.trim()) body.to = isQueue() ? { topic: to.value.trim() } : to.value.trim();
    const onto = isQueue() ? `${source()}/${what}` : `/v1/messages/${what}`;
    try {
      const told = await ask("POST", from() + onto + query(), body);
      const trouble = told.failed.map((one) => `${one.id}: ${one.reason}`).join("\n");
      if (told.done) banner("done", `${number(told.done)} ${isDiscard ? "thrown away" : "put back"}.`);
      if (told.missing.length) banner("warn", `${number(told.missing.length)} are not there any more, or with a consumer.`);
      if (told.failed.length) banner("error", `${number(told.failed.length)} stay where they are.`, trouble);
      await look();
    } catch (error) {
      complain(error);
    }
  };

  const draw = (messages) => {
    picked.clear();
    const chosen = h("span", { role: "status" });
    const say = () => {
      chosen.textContent = picked.size ? `${picked.size} chosen` : "None chosen";
    };
    const pick = (message) => h("input", {
      type: "checkbox", "aria-label": `Choose ${message.id}`,
      onchange: (event) => {
        if (event.target.checked) picked.add(message.id);
        else picked.delete(message.id);
        say();
      },
    });
    say();
    const canAct = mayOperate() && (isQueue() || channel.value.trim());
    const some = (what) => () => (picked.size ? act(what, { ids: [...picked] }) : banner("warn", "Choose messages first."));
    fill(list,
      table({
        name: "messages", caption: `The first ${number(messages.length)} messages`, rows: messages, empty: "There are no messages.",
        columns: [
          canAct && { name: "Choose", cell: pick },
          { name: "Message", cell: (row) => [h("code", {}, row.id), details(row)] },
          { name: "Body", cell: body },
        ].filter(Boolean),
      }),
      canAct && messages.length > 0 && h("div", { class: "card" },
        h("h2", {}, "Put back, or throw away"),
        field("To topic", to, "Empty: to where each message says that it comes from. A topic gives it to all its channels."),
        h("div", { class: "actions" }, chosen,
          h("button", { type: "button", onclick: some("requeue") }, "Put back chosen"),
          h("button", { type: "button", class: "danger", onclick: some("discard") }, "Throw away chosen"),
          h("button", { type: "button", onclick: () => act("requeue", { all: true }) }, "Put back all"),
          h("button", { type: "button", class: "danger", onclick: () => act("discard", { all: true }) }, "Throw away all"))));
  };

  const details = (row) => {
    const pairs = isQueue()
      ? [["published to", `${row.exchange || "(default)"} ${row.routing_key}`], ["back to", row.back_to ? row.back_to.topic ? `topic ${row.back_to.topic}` : `${row.back_to.exchange || "(default)"} ${row.back_to.routing_key}` : "unknown"], ["redelivered", String(row.redelivered)], ["size", bytes(row.size)], ...Object.entries(row.headers).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])]
      : [["published", new Date(row.timestamp / 1e6).toLocaleString()], ["state", row.state], ["attempts", number(row.attempts)], ["size", bytes(row.size)]];
    return h("dl", { class: "pairs" }, pairs.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))));
  };

  const look = async (event) => {
    event?.preventDefault();
    try {
      draw(await get(`${from()}${source()}${query()}&n=50`));
    } catch (error) {
      fill(list);
      complain(error);
    }
  };
  arrange();
  fill(main, h("h1", {}, "Messages"),
    h("form", { class: "card", onsubmit: look },
      h("div", { class: "row" }, field("Node", node), field("Of", kind)), places,
      h("button", { type: "submit", class: "primary", id: "look" }, "Look"),
      h("small", {}, "Nothing is taken by looking. A quorum queue counts it as a delivery.")),
    list);
  if ((isQueue() && queue.value) || (!isQueue() && topic.value)) await look();
}
