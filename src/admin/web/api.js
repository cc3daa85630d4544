// The server, as pages ask it.

export const settings = JSON.parse(document.getElementById("settings").textContent);
export const base = settings.base;

export const session = { login: false, user: null, role: "operate", token: null };

export class Trouble extends Error {
  constructor(status, message, detail) {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

export const mayOperate = () => session.role === "operate";

// Every part of a path is escaped by whoever makes it: path`/api/topics/${name}`.
export function path(texts, ...parts) {
  return texts.reduce((whole, text, at) => whole + encodeURIComponent(parts[at - 1]) + text);
}

export async function ask(method, to, body) {
  const headers = { "X-UserAgent": `nsqadmin/v${settings.version}` };
  if (session.token) headers["X-CSRF-Token"] = session.token;
  const isText = typeof body === "string";
  if (body !== undefined) headers["Content-Type"] = isText ? "application/yaml" : "application/json";
  const request = { method, headers, signal: AbortSignal.timeout(20000) };
  if (body !== undefined) request.body = isText ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(base + to, request);
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Trouble(0, late ? "No answer within 20 seconds." : "The server cannot be reached.");
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = { message: text };
  }
  if (answer.status === 401 && value?.message === "LOGIN_REQUIRED") {
    document.dispatchEvent(new CustomEvent("login-required"));
  }
  if (!answer.ok) throw new Trouble(answer.status, value?.message ?? answer.statusText, value?.detail);
  return value;
}

export const get = (to) => ask("GET", to);

export async function openSession() {
  Object.assign(session, await get("/api/session"));
}

// What the server sends every two seconds; a stream that breaks is opened again by the browser.
export function live(of, onFigures, onTrouble) {
  const events = new EventSource(`${base}/api/live?of=${of}`);
  events.addEventListener("figures", (event) => onFigures(JSON.parse(event.data)));
  events.addEventListener("trouble", (event) => onTrouble(JSON.parse(event.data).message));
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) onTrouble("The server sends no figures any more.");
  });
  return () => events.close();
}
