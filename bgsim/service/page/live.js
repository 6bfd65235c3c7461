// One stream of events for all tabs of a browser. Web Locks elect the tab that holds it, a BroadcastChannel hands the events
// on, and when that tab closes the next one goes on behind the last event that it saw. Without a secure context there are no
// locks; then a tab holds a stream while it is seen.

import { decode } from "./api.js";

const scope = new URL(".", document.baseURI).pathname;
const channel = new BroadcastChannel(`bgsim ${scope}`);
const listeners = new Set();
const LONGEST_PAUSE_MS = 15_000;

let lastId = "";
let state = "connecting"; // connecting, live, lost, signed out
let leads = false;
let begun = false; // whether there has been a stream, in any tab
let wake = () => {};
let ready = () => {};

export const isReady = new Promise((resolve) => {
  ready = resolve;
  setTimeout(resolve, 1500);
});

export function onLive(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const liveState = () => state;

function take(message) {
  if (message.kind === "event") {
    if (message.id) lastId = message.id;
  } else if (message.kind === "state") {
    state = message.state;
    begun ||= state === "live";
    if (state !== "connecting") ready();
  }
  listeners.forEach((listener) => listener(message));
}

function tell(message) {
  channel.postMessage(message);
  take(message);
}

channel.onmessage = ({ data }) => {
  if (data.kind === "who") {
    if (leads) channel.postMessage({ kind: "state", state });
  } else if (data.kind === "wake") {
    if (leads) wake();
  } else {
    take(data);
  }
};

// After a person has signed in or out, in any tab.
export function reconnect() {
  channel.postMessage({ kind: "wake" });
  wake();
}

export function startLive() {
  channel.postMessage({ kind: "who" });
  if (navigator.locks) {
    navigator.locks.request(`bgsim stream ${scope}`, () => {
      leads = true;
      return hold(() => true);
    });
  } else {
    leads = true;
    hold(() => document.visibilityState === "visible");
  }
}

async function hold(wanted) {
  let pause = 500;
  for (;;) {
    if (!wanted()) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    if (!wanted()) continue;
    const outcome = await stream(wanted, () => (pause = 500));
    if (outcome === "woken") continue;
    tell({ kind: "state", state: outcome });
    await new Promise((resolve) => {
      wake = resolve;
      if (outcome !== "signed out") setTimeout(resolve, pause * (0.75 + 0.5 * Math.random()));
      addEventListener("online", resolve, { once: true });
    });
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

async function stream(wanted, opened) {
  const stop = new AbortController();
  const unseen = () => wanted() || stop.abort();
  let woken = false;
  wake = () => {
    woken = true;
    stop.abort();
  };
  document.addEventListener("visibilitychange", unseen);
  try {
    const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
    const response = await fetch("v1/events", { headers, signal: stop.signal, cache: "no-store", credentials: "same-origin" });
    if (response.status === 401) return "signed out";
    if (!response.ok) return "lost";
    opened();
    const blind = begun && !lastId; // no event came before the last stream ended, so there is none to go on behind
    tell({ kind: "state", state: "live" });
    if (blind) tell({ kind: "event", name: "resync", id: "", data: null });
    for await (const message of messages(response.body)) tell(message);
    return "lost";
  } catch {
    return woken || !wanted() ? "woken" : "lost";
  } finally {
    document.removeEventListener("visibilitychange", unseen);
  }
}

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const message = parse(block);
      if (message) yield message;
    }
  }
}

function parse(block) {
  const found = { event: "message", id: "", data: [] };
  for (const line of block.split("\n")) {
    const [, name, text] = line.match(/^(\w+): ?(.*)$/) ?? [];
    if (name === "data") found.data.push(text);
    else if (name === "event" || name === "id") found[name] = text;
  }
  if (!found.data.length && found.event === "message") return null; // a comment that keeps the connection
  return { kind: "event", name: found.event, id: found.id, data: found.data.length ? decode(found.data.join("\n")) : null };
}
