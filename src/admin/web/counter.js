// One number: messages of the cluster, counted on between two answers.

import { get } from "./api.js";
import { banner, complain } from "./app.js";
import { fill, h } from "./dom.js";
import { large } from "./graphite.js";
import { number, rate } from "./tables.js";

export function counterPage(main) {
  const shown = h("output", { class: "counter", "aria-live": "off" }, "–");
  const speed = h("p", { class: "speed" }, "–");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let [last, next, step, timer, frame] = [null, null, 1100, null, null];

  const tick = () => {
    if (last && next) {
      const part = Math.min(1, (performance.now() - next.at) / step);
      shown.textContent = number(Math.round(last.count + (next.count - last.count) * (still.matches ? 1 : part)));
    }
    frame = requestAnimationFrame(tick);
  };
  const poll = async () => {
    try {
      const told = await get("/api/counter");
      banner("warn", told.message);
      const count = Object.values(told.stats).reduce((sum, one) => sum + one.message_count, 0);
      const now = { count, at: performance.now() };
      if (next) speed.textContent = rate(Math.max(0, (count - next.count) / ((now.at - next.at) / 1000)));
      last = next ?? now;
      next = now;
    } catch (error) {
      complain(error);
    }
    timer = setTimeout(poll, step);
    step = Math.min(10000, step * 1.1);
  };
  fill(main, h("h1", {}, "Counter"), h("div", { class: "card center" }, shown, h("p", {}, "messages received by all channels"), speed), large("*", "*", ["message_count"]));
  poll();
  tick();
  return () => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
  };
}
