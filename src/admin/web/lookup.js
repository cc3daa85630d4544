// nsqlookupds, what nobody has any more, and new topics and channels.

import { ask, get, mayOperate, path, settings } from "./api.js";
import { banner, complain, link } from "./app.js";
import { confirmed, field, fill, h } from "./dom.js";

export async function lookupPage(main) {
  const list = h("div", {});

  const remove = async (what, to) => {
    if (!(await confirmed("Delete this?", `${what} is deleted at every nsqlookupd.`, "Delete"))) return;
    try {
      const told = await ask("DELETE", to);
      banner(told.message ? "warn" : "done", told.message || `${what} is deleted.`);
      await load();
    } catch (error) {
      complain(error);
    }
  };
  const cross = (what, to) => mayOperate() && h("button", { type: "button", class: "small danger", "aria-label": `Delete ${what}`, onclick: () => remove(what, to) }, "Delete");

  const load = async () => {
    const told = await get("/api/topics?inactive=true");
    banner("warn", told.message);
    const topics = Object.entries(told.topics);
    fill(list, topics.length
      ? h("ul", { class: "tree" }, topics.map(([topic, channels]) => h("li", {}, link(path`/topics/${topic}`, topic), " ", cross(topic, path`/api/topics/${topic}`),
        channels?.length > 0 && h("ul", {}, channels.map((channel) => h("li", {}, channel, " ", cross(`${topic} / ${channel}`, path`/api/topics/${topic}/${channel}`)))))))
      : h("p", { class: "empty" }, "Every topic has a node."));
  };

  const topic = h("input", { name: "topic", required: true, maxlength: 64, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const channel = h("input", { name: "channel", maxlength: 64, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const create = async (event) => {
    event.preventDefault();
    try {
      const told = await ask("POST", "/api/topics", { topic: topic.value.trim(), channel: channel.value.trim() });
      banner(told.message ? "warn" : "done", told.message || `${topic.value} is made.`);
      topic.value = "";
      channel.value = "";
      await load();
    } catch (error) {
      complain(error);
    }
  };
  fill(main,
    h("h1", {}, "Lookup"),
    h("h2", {}, "nsqlookupds"),
    settings.nsqlookupds.length
      ? h("ul", {}, settings.nsqlookupds.map((one) => h("li", {}, h("code", {}, one))))
      : h("p", { class: "empty" }, "There are none: the nodes were given one by one."),
    h("h2", {}, "Topics that no node has"), list,
    mayOperate() && h("form", { class: "card", onsubmit: create },
      h("h2", {}, "Create"),
      h("div", { class: "row" }, field("Topic", topic), field("Channel", channel, "Leave it empty for a topic alone."), h("button", { type: "submit", class: "primary" }, "Create"))));
  await load();
}
