// The frame of every page: navigation, banners, and which page a path means.

import { base, openSession, session, settings, ask } from "./api.js";
import { fill, h } from "./dom.js";
import { alertsPage } from "./alerts.js";
import { counterPage } from "./counter.js";
import { graphMenu } from "./graphite.js";
import { loginPage } from "./login.js";
import { lookupPage } from "./lookup.js";
import { messagesPage } from "./messages.js";
import { nodePage, nodesPage } from "./nodes.js";
import { brokersPage, routePage, routesPage } from "./routes.js";
import { streamsPage } from "./streams.js";
import { channelPage, topicPage } from "./topics.js";

const pages = [
  [/^\/(?:topics)?$/, "Streams", streamsPage],
  [/^\/topics\/([^/]+)$/, "Topic", topicPage],
  [/^\/topics\/([^/]+)\/([^/]+)$/, "Channel", channelPage],
  [/^\/nodes$/, "Nodes", nodesPage],
  [/^\/nodes\/([^/]+)$/, "Node", nodePage],
  [/^\/counter$/, "Counter", counterPage],
  [/^\/lookup$/, "Lookup", lookupPage],
  [/^\/routes$/, "Routes", routesPage],
  [/^\/routes\/([^/]+)\/([^/]+)$/, "Route", routePage],
  [/^\/brokers$/, "Brokers", brokersPage],
  [/^\/messages$/, "Messages", messagesPage],
  [/^\/alerts$/, "Alerts", alertsPage],
];

const menu = [
  ["/", "Streams"], ["/nodes", "Nodes"], ["/counter", "Counter"], ["/lookup", "Lookup"],
  ["/routes", "Routes"], ["/brokers", "Brokers"], ["/messages", "Messages"], ["/alerts", "Alerts"],
];

const main = h("main", { id: "main", tabindex: "-1" });
const banners = h("div", { id: "banners", role: "status", "aria-live": "polite" });
const nav = h("nav", { "aria-label": "Pages" });
const who = h("div", { class: "who" });
let leave = null;
let shown = 0;

// What stands above a page until the next one: warnings of nodes that did not answer, errors, and what was done.
export function banner(kind, text, detail) {
  if (!text) return;
  const same = [...banners.children].find((other) => other.dataset.text === text);
  if (same) return;
  const close = h("button", { type: "button", class: "close", "aria-label": "Close this message", onclick: () => one.remove() }, "×");
  const one = h("div", { class: `banner ${kind}`, role: kind === "error" ? "alert" : undefined, "data-text": text },
    h("div", {}, h("p", {}, text), detail && h("pre", {}, detail)), close);
  banners.append(one);
  while (banners.children.length > 4) banners.firstElementChild.remove();
}

export const complain = (error) => banner("error", error.message, error.detail);

export function go(to) {
  history.pushState(null, "", base + to);
  show();
}

export const link = (to, ...children) => h("a", { href: base + to }, ...children);

function where() {
  const path = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : location.pathname;
  return path || "/";
}

function theme() {
  const next = { light: "dark", dark: "light" };
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = localStorage.getItem("theme") ?? (isDark ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  return h("button", {
    type: "button", class: "quiet", id: "theme", "aria-label": `Use ${next[now]} colours`,
    onclick: () => {
      localStorage.setItem("theme", next[now]);
      frame();
    },
  }, now === "dark" ? "☀" : "☾");
}

function frame() {
  const at = where();
  fill(nav, h("ul", {}, menu.map(([to, name]) => {
    const isHere = to === "/" ? at === "/" || at.startsWith("/topics") : at.startsWith(to);
    return h("li", {}, h("a", { href: base + (to === "/" ? to : to), "aria-current": isHere ? "page" : undefined }, name));
  })));
  const out = async () => {
    await ask("POST", "/api/logout").catch(complain);
    location.reload();
  };
  fill(who, graphMenu(show),
    session.user && h("span", { class: "user" }, session.user, session.role === "view" && " (view)"),
    session.login && session.token && h("button", { type: "button", class: "quiet", onclick: out }, "Log out"),
    theme());
}

export async function show() {
  leave?.();
  leave = null;
  const turn = ++shown;
  const at = where();
  const found = pages.map(([shape, title, page]) => [at.match(shape), title, page]).find(([match]) => match);
  banners.replaceChildren();
  frame();
  if (!found) {
    fill(main, h("h1", {}, "Not found"), h("p", {}, "There is no such page."));
    return;
  }
  const [match, title, page] = found;
  const names = match.slice(1).map(decodeURIComponent);
  document.title = [...names.toReversed(), title, "nsqadmin"].join(" · ");
  fill(main, h("p", { class: "empty", "aria-busy": "true" }, "Loading …"));
  try {
    const end = await page(main, ...names);
    // Somebody may have gone on while it loaded.
    if (turn === shown) leave = end ?? null;
    else end?.();
  } catch (error) {
    if (turn !== shown) return;
    complain(error);
    fill(main, h("h1", {}, title), h("p", { class: "empty" }, "It cannot be shown: see above."));
  }
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href]");
  const isPlain = !event.defaultPrevented && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (!anchor || !isPlain || anchor.origin !== location.origin || anchor.target) return;
  const path = anchor.pathname.slice(base.length) || "/";
  if (!pages.some(([shape]) => shape.test(path))) return;
  event.preventDefault();
  history.pushState(null, "", anchor.href);
  show().then(() => main.focus({ preventScroll: true }));
  scrollTo(0, 0);
});
addEventListener("popstate", show);
addEventListener("pagehide", () => leave?.());

function login() {
  leave?.();
  leave = null;
  shown += 1;
  document.title = "Log in · nsqadmin";
  fill(nav);
  fill(who, theme());
  loginPage(main, async () => {
    await openSession();
    show();
  });
}
document.addEventListener("login-required", login);

document.getElementById("app").append(
  h("a", { class: "skip", href: "#main" }, "Skip to the content"),
  h("header", {},
    h("a", { class: "brand", href: `${base}/` }, h("img", { src: `${base}/static/icon.svg`, alt: "", width: 24, height: 24 }), "nsqadmin"),
    nav, who),
  banners, main,
  h("footer", {}, `Leveret ${settings.leveret}, as nsqadmin ${settings.version}`));

try {
  await openSession();
  if (session.login && !session.role) login();
  else await show();
} catch (error) {
  complain(error);
}
