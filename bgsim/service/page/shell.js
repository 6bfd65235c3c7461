// The frame around the views: the way to each, how the stream is, and what a person chose.

import { html, useEffect, useReducer, useState } from "./vendor/htm-preact.js";
import { post, remove } from "./api.js";
import { HELP, useKeys } from "./keys.js";
import { liveState, onLive, reconnect } from "./live.js";
import { Dialog } from "./parts.js";
import { go, to } from "./route.js";
import { setTheme, setUtc, settings } from "./settings.js";
import { useEngine } from "./store.js";

const PLACES = [
  { path: "", title: "Overview", key: "o", icon: "M2.5 8.5h4v5h-4zM9.5 2.5h4v11h-4z" },
  { path: "jobs", title: "Jobs", key: "j", icon: "M2.5 4h11M2.5 8h11M2.5 12h7" },
  { path: "sweeps", title: "Sweeps", key: "w", icon: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z" },
  { path: "slots", title: "Slots", key: "s", icon: "M2.5 3h4.6v10H2.5zM8.9 3h4.6v10H8.9z" },
  { path: "dead-letters", title: "Dead letters", key: "d", icon: "M2.5 4h11v8.5h-11zM2.5 4.5L8 9l5.5-4.5" },
  { path: "schedules", title: "Schedules", key: "c", icon: "M8 2.2a5.8 5.8 0 1 0 .01 0zM8 4.8V8l2.2 1.6" },
  { path: "health", title: "Health", key: "h", icon: "M1.8 8.5h3l1.7-4.8 3 8.6 1.7-3.8h3" },
];

const WORDS = {
  connecting: ["is-delayed", "Connecting"],
  live: ["is-completed", "Live"],
  lost: ["is-suspended", "Reconnecting"],
  "signed out": ["is-failed", "Signed out"],
};

function useLiveState() {
  const [, again] = useReducer((turn) => turn + 1, 0);
  useEffect(() => onLive((message) => message.kind === "state" && again()), []);
  return liveState();
}

function Stream() {
  const [look, word] = WORDS[useLiveState()] ?? WORDS.lost;
  return html`<span class="stream ${look}" role="status" aria-live="polite"><i aria-hidden="true" />${word}</span>`;
}

function Place({ place, current, badge }) {
  return html`<a href=${to(place.path ? [place.path] : [])} aria-current=${current ? "page" : undefined}>
    <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d=${place.icon} /></svg><span>${place.title}</span>${badge}
  </a>`;
}

function Badge({ place, engine }) {
  const states = engine?.states ?? {};
  const active = (states.running ?? 0) + (states.queued ?? 0) + (states.delayed ?? 0) + (states.suspended ?? 0) + (states.cancelling ?? 0);
  if (place.path === "jobs" && active) return html`<b class="badge" aria-label="${active} not ended">${active > 999 ? "999+" : active}</b>`;
  return null;
}

const THEMES = { system: "Auto", light: "Light", dark: "Dark" };

export function Choices({ session, onSession }) {
  const order = Object.keys(THEMES);
  const theme = settings.theme;
  const leave = async () => {
    await remove("v1/session");
    reconnect();
    onSession();
  };
  return html`<div class="choices">
    <button class="quiet small" aria-pressed=${settings.utc} title="Show times in ${settings.utc ? "local time" : "UTC"}" onClick=${() => setUtc(!settings.utc)}>${settings.utc ? "UTC" : "Local time"}</button>
    <button class="quiet small" title="Light or dark; auto: as the system" aria-label="Theme: ${THEMES[theme]}" onClick=${() => setTheme(order[(order.indexOf(theme) + 1) % 3])}>${THEMES[theme]}</button>
    ${session && !session.local && html`<button class="quiet small" title="Signed in as ${session.role}${session.tenant ? ` of ${session.tenant}` : ""}" onClick=${leave}>Sign out</button>`}
  </div>`;
}

export function Shell({ place, session, onSession, children }) {
  const engine = useEngine();
  const [help, setHelp] = useState(false);
  const [open, setOpen] = useState(false);
  useKeys({
    "?": () => setHelp(true),
    n: () => session.verbs.includes("submit") && go(to(["new"])),
    ...Object.fromEntries(PLACES.map(({ path, key }) => [`g ${key}`, () => go(to(path ? [path] : []))])),
  });
  useEffect(() => setOpen(false), [place]);
  const paused = engine?.draining ? "Draining: no new jobs" : engine?.paused ? "The engine is paused" : "";
  return html`<div class="shell">
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.querySelector("main h1")?.focus(); }}>Skip to the content</a>
    <nav class="side ${open ? "open" : ""}" aria-label="Views">
      <div class="brand"><a href="#/">bgsim</a><${Stream} /><button class="quiet menu" aria-expanded=${open} aria-label="Menu" onClick=${() => setOpen(!open)}>${open ? "✕" : "☰"}</button></div>
      <div class="places">
        ${session.verbs.includes("submit") && html`<a class="new" href="#/new" aria-current=${place === "new" ? "page" : undefined}>New job<kbd>n</kbd></a>`}
        ${PLACES.map((one) => html`<${Place} key=${one.path} place=${one} current=${one.path === place} badge=${html`<${Badge} place=${one} engine=${engine} />`} />`)}
      </div>
      <div class="foot">
        ${paused && html`<p class="paused" role="status">${paused}</p>`}
        <${Choices} session=${session} onSession=${onSession} />
        <p class="faint">${session.role}${session.tenant ? ` · ${session.tenant}` : ""}${engine?.version ? ` · ${engine.version}` : ""}<button class="quiet small" aria-label="Keys" onClick=${() => setHelp(true)}>?</button></p>
      </div>
    </nav>
    <main id="content">${children}</main>
    ${help && html`<${Dialog} title="Keys" onClose=${() => setHelp(false)}><dl class="facts keys">${HELP.map(([key, does]) => html`<div key=${key}><dt>${key.split(", ").map((one) => html`<kbd key=${one}>${one}</kbd> `)}</dt><dd>${does}</dd></div>`)}</dl><//>`}
  </div>`;
}

export const signIn = (token) => post("v1/session", { token });
