// Drives nsqadmin's pages in Chromium and fails at the first thing that is not as it is to be.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { chromium } = require("playwright-core");

const { ADMIN, NODE, TAG, SCREENSHOTS } = process.env;
fs.mkdirSync(SCREENSHOTS, { recursive: true });

const PATIENCE = 20000;
const problems = [];

async function open(browser, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => problems.push(`script: ${error.message}`));
  page.on("console", (line) => line.type() === "error" && !/40[0-9]|409|Failed to load resource/.test(line.text()) && problems.push(`console: ${line.text()}`));
  return page;
}

const shot = (page, name) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });

async function visit(page, path, heading) {
  await page.goto(ADMIN + path);
  await page.getByRole("heading", { level: 1, name: heading }).waitFor();
}

async function confirm(page, name) {
  await page.getByRole("dialog").getByRole("button", { name, exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

const done = (page, text) => page.locator(".banner.done", { hasText: text }).first().waitFor();

// Everything that can be touched has a name, every picture a text, every field a label, and no two ids are the same.
async function accessible(page, where) {
  const faults = await page.evaluate(() => {
    const found = [];
    const named = (element) => (element.getAttribute("aria-label") || element.textContent || element.title || "").trim();
    for (const element of document.querySelectorAll("button, a[href]")) if (!named(element)) found.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    for (const element of document.querySelectorAll("img")) if (!element.hasAttribute("alt")) found.push("a picture without a text");
    for (const element of document.querySelectorAll("input, select, textarea")) if (!element.labels?.length && !element.getAttribute("aria-label")) found.push(`no label: ${element.outerHTML.slice(0, 80)}`);
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) found.push(`the id ${id} twice`);
    if (document.querySelectorAll("h1").length !== 1) found.push("not one heading");
    if (document.documentElement.scrollWidth > innerWidth + 1) found.push(`wider than the window: ${document.documentElement.scrollWidth}`);
    return found;
  });
  assert.deepEqual(faults, [], where);
}

// The contrast of each text with what is behind it.
async function readable(page, where) {
  const faults = await page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([r, g, b]) => {
      const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
      return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour[3] > 250) return colour;
      }
      return [255, 255, 255, 255];
    };
    const found = new Set();
    for (const element of document.querySelectorAll("body *")) {
      const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!isText || !element.checkVisibility() || element.closest("svg, noscript")) continue;
      const [text, ground] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
      const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
      if (contrast < 4.5) found.add(`${contrast.toFixed(2)}: ${element.className || element.tagName} ${element.textContent.trim().slice(0, 30)}`);
    }
    return [...found];
  });
  assert.deepEqual(faults, [], `contrast of ${where}`);
}

async function streams(page) {
  await visit(page, "/", "Streams");
  await page.getByRole("link", { name: "orders", exact: true }).waitFor();
  await accessible(page, "Streams");
  await shot(page, "streams");
  await page.getByLabel("Filter").fill("qui");
  await page.getByRole("link", { name: "orders", exact: true }).waitFor({ state: "detached" });
  await page.getByLabel("Filter").fill("");
  await page.getByRole("button", { name: /^Messages/ }).click();
  await page.locator("th[aria-sort=descending]").waitFor();
  await page.getByRole("link", { name: "orders", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "orders" }).waitFor();
}

async function topic(page) {
  await visit(page, "/topics/orders", "orders");
  await page.getByRole("link", { name: "bridge", exact: true }).waitFor();
  await accessible(page, "Topic");
  await shot(page, "topic");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await confirm(page, "Pause");
  await page.getByRole("button", { name: "Unpause" }).click();
  await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
  await visit(page, "/topics/retried/once", "retried / once");
  await page.getByText("Gets nothing, since").waitFor();
  await accessible(page, "Channel");
  await shot(page, "channel");
  await page.getByRole("button", { name: "Empty" }).click();
  await confirm(page, "Empty");
  await done(page, "is empty");
}

async function nodes(page) {
  await visit(page, "/nodes", "Nodes");
  await accessible(page, "Nodes");
  await shot(page, "nodes");
  await page.locator("tbody a").first().click();
  await page.getByRole("heading", { level: 1, name: NODE }).waitFor();
  await page.getByRole("heading", { name: "Clients" }).waitFor();
  await accessible(page, "Node");
  await shot(page, "node");
}

async function lookup(page) {
  await visit(page, "/lookup", "Lookup");
  await accessible(page, "Lookup");
  await page.getByLabel("Topic").fill("not a name");
  await page.getByRole("button", { name: "Create" }).click();
  await page.locator(".banner.error", { hasText: "INVALID_TOPIC" }).waitFor();
  await shot(page, "lookup");
  await visit(page, "/counter", "Counter");
  await page.waitForFunction(() => /[1-9]/.test(document.querySelector(".counter").textContent));
  await accessible(page, "Counter");
  await shot(page, "counter");
}

async function routes(page) {
  await visit(page, "/routes", "Routes");
  await page.getByRole("link", { name: "orders-out" }).waitFor();
  await accessible(page, "Routes");
  await shot(page, "routes");
  await page.getByRole("link", { name: "orders-out" }).click();
  await page.locator(".badge.good", { hasText: "running" }).waitFor();
  await page.locator(".stage", { hasText: "500 messages/s" }).waitFor();
  await accessible(page, "Route");
  await page.getByRole("button", { name: "Pause" }).click();
  await confirm(page, "Pause");
  await page.locator("h1 .badge", { hasText: "paused" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator("h1 .badge", { hasText: "running" }).waitFor();
  const definition = page.locator("textarea");
  const text = await definition.inputValue();
  await definition.fill(text.replace("mode: queued", "mode: sideways"));
  await page.getByRole("button", { name: "Check" }).click();
  await page.locator(".banner.error", { hasText: "mode" }).waitFor();
  await shot(page, "route-refused");
  await definition.fill(text.replace("500/s", "250/s"));
  await page.getByRole("button", { name: "Check" }).click();
  await page.locator(".diff .added", { hasText: "250/s" }).waitFor();
  await shot(page, "route");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.locator(".stage", { hasText: "250 messages/s" }).waitFor();
  await visit(page, "/brokers", "Brokers");
  await page.locator(".badge.good", { hasText: "up" }).first().waitFor();
  await accessible(page, "Brokers");
  await shot(page, "brokers");
}

async function messages(page) {
  await visit(page, "/messages?topic=dead&channel=look", "Messages");
  await page.locator("pre.body", { hasText: "markup" }).waitFor();
  await accessible(page, "Messages");
  await page.getByRole("button", { name: "Hex" }).click();
  await page.locator("pre.body", { hasText: "000000  7b" }).waitFor();
  await shot(page, "messages");
  await page.getByRole("checkbox").first().check();
  await page.getByRole("button", { name: "Put back chosen" }).click();
  await confirm(page, "Put back");
  await done(page, "1 put back");
  await page.getByText("There are no messages.").waitFor();
  await visit(page, `/messages?queue=dead.${TAG}`, "Messages");
  await page.getByText("unroutable").first().waitFor();
  await accessible(page, "Messages of a queue");
  await shot(page, "messages-of-a-queue");
  await page.getByRole("checkbox").first().check();
  await page.getByRole("button", { name: "Throw away chosen" }).click();
  await confirm(page, "Throw away");
  await done(page, "1 thrown away");
  await page.getByRole("button", { name: "Put back all" }).click();
  await confirm(page, "Put back");
  await done(page, "3 put back");
  await visit(page, "/alerts", "Alerts");
  await page.getByText(/No node has alerts|Nothing to complain of|Alerts of all nodes/).waitFor();
  await accessible(page, "Alerts");
  await shot(page, "alerts");
}

// By keyboard alone: to a topic, and out of a dialog without doing anything.
async function keyboard(page) {
  await visit(page, "/", "Streams");
  await page.getByRole("link", { name: "quiet" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "quiet" }).waitFor();
  await page.getByRole("button", { name: "Delete topic" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Delete topic" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await done(page, "quiet is deleted");
  await page.getByRole("heading", { level: 1, name: "Streams" }).waitFor();
}

// A phone's width in light and a wide screen in dark: colours do not depend on the width, nor widths on the colours.
async function looks(browser) {
  const paths = [["/", "Streams"], ["/topics/orders", "orders"], ["/nodes", "Nodes"], ["/routes", "Routes"], [`/routes/${NODE}/orders-out`, "orders-out"], ["/messages?topic=orders&channel=bridge", "Messages"], ["/lookup", "Lookup"]];
  for (const [colorScheme, name, width] of [["light", "phone", 360], ["dark", "wide", 1920]]) {
    const page = await open(browser, { colorScheme, viewport: { width, height: 800 } });
    for (const [path, heading] of paths) {
      await visit(page, path, heading);
      await page.locator("[aria-busy]").first().waitFor({ state: "detached" });
      const where = `${heading} (${colorScheme}, ${name})`;
      await accessible(page, where);
      await readable(page, where);
      await shot(page, `${heading.toLowerCase()}-${colorScheme}-${name}`);
    }
    await page.context().close();
  }
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await open(browser, { viewport: { width: 1280, height: 900 } });
  try {
    for (const part of [streams, topic, nodes, lookup, routes, messages, keyboard]) {
      console.log(part.name);
      await part(page);
    }
    console.log("looks");
    await looks(browser);
    assert.deepEqual(problems, []);
    console.log("all pages seen");
  } catch (error) {
    await shot(page, "failed").catch(() => {});
    console.error(error);
    console.error(problems.join("\n"));
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
})();
