// Pictures of a graphite server, where there is one; nothing where there is none.

import { base, settings } from "./api.js";
import { h } from "./dom.js";

const spans = ["1h", "2h", "12h", "24h", "48h", "168h", "off"];
const counters = ["requeue_count", "timeout_count", "message_count", "gc_runs"];

function chosen() {
  const asked = new URLSearchParams(location.search).get("t");
  if (spans.includes(asked)) return asked;
  const kept = localStorage.getItem("timeframe");
  return spans.includes(kept) ? kept : settings.graphite ? "2h" : "off";
}

export function graphMenu(changed) {
  if (!settings.graphite) return null;
  const select = h("select", {
    "aria-label": "Time shown in graphs", id: "timeframe",
    onchange: () => {
      localStorage.setItem("timeframe", select.value);
      changed();
    },
  }, spans.map((one) => h("option", { value: one, selected: one === chosen() }, one)));
  select.value = chosen();
  return select;
}

// As graphite's own keys: no blanks, no slashes, nothing that is not a plain character.
const clean = (name) => (name === "*" ? name : name.replaceAll(" ", "_").replaceAll("/", "-").replace(/[^A-Za-z0-9\-_.]/g, ""));

function target(topic, channel, metric) {
  const prefix = settings.statsd_prefix.replace("%s", "*");
  const key = [prefix, "topic", clean(topic), ...(channel ? ["channel", clean(channel)] : []), metric].filter(Boolean).join(".");
  const format = counters.includes(metric) ? settings.statsd_counter_format : settings.statsd_gauge_format;
  const whole = format ? format.replace("%s", key) : key;
  const sum = `sumSeries(${whole})`;
  return `summarize(${sum},"${settings.statsd_interval}sec","avg")`;
}

function url(targets, wide) {
  const query = new URLSearchParams({
    from: `-${chosen()}`, until: "-1min", width: wide ? "800" : "120", height: wide ? "450" : "20",
    ...(wide ? { fgcolor: "999999", bgcolor: "ff000000", yMin: "0", lineMode: "connected", drawNullAsZero: "false" }
      : { graphOnly: "true", bgcolor: "ff000000", margin: "0", hideGrid: "true", hideAxes: "true", hideLegend: "true", drawNullAsZero: "false", yMin: "0", lineMode: "connected" }),
  });
  for (const one of targets) query.append("target", one);
  return `${settings.graphite_url || base}/render?${query}`;
}

export function sparkline(topic, channel, metric) {
  if (!settings.graphite || chosen() === "off") return null;
  if (topic === undefined) return true;
  return h("img", { class: "spark", alt: `${metric} of ${topic}`, width: 120, height: 20, loading: "lazy", src: url([target(topic, channel, metric)], false) });
}

export function large(topic, channel, metrics) {
  if (!settings.graphite || chosen() === "off") return null;
  return h("div", { class: "graphs" }, metrics.map((metric) => {
    const one = target(topic, channel, metric);
    const scaled = counters.includes(metric) ? `scale(${one},${1 / settings.statsd_interval})` : one;
    return h("figure", {}, h("figcaption", {}, metric), h("img", { alt: `${metric} of ${topic}`, width: 800, height: 450, loading: "lazy", src: url([scaled], true) }));
  }));
}
