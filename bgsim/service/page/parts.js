// Small parts that views share.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { count, duration, full, moment, share } from "./format.js";
import { to } from "./route.js";
import { isOver } from "./store.js";

export function Bar({ job, label }) {
  const whole = job.state === "completed" ? 1 : (job.fraction ?? 0);
  const moving = job.state === "running" && job.phase === "compiling";
  return html`<div
    class="bar is-${job.state} ${moving ? "moving" : ""}"
    role="progressbar"
    aria-valuemin="0"
    aria-valuemax="100"
    aria-valuenow=${Math.floor(100 * whole)}
    aria-label=${label ?? `${share(job)} of ${count(job.total_replicates ?? job.replicates)} replicates`}
  ><i style=${{ transform: `scaleX(${whole})` }} /></div>`;
}

export const Time = ({ at }) =>
  at ? html`<time datetime=${at} title=${`${full(at, false)}\n${full(at, true)}`}>${moment(at)}</time>` : html`<span class="faint">–</span>`;

export function Empty({ title, children }) {
  return html`<div class="empty"><p class="title">${title}</p>${children && html`<div class="next">${children}</div>`}</div>`;
}

export function Trouble({ problem, again, beside }) {
  if (!problem) return null;
  const text = beside ? problem.beside(beside) : problem.beside ? problem.beside(new Set()) : problem.message;
  if (!text) return null;
  const after = problem.retryAfter ? ` Try again in ${duration(problem.retryAfter)}.` : "";
  return html`<div class="trouble" role="alert"><p>${text}${after}</p>${again && html`<button onClick=${again}>Try again</button>`}</div>`;
}

// What a view shows while it has nothing: the problem, or quiet lines in the place of rows.
export function Pending({ load, lines = 4 }) {
  if (load.problem) return html`<${Trouble} problem=${load.problem} again=${load.reload} />`;
  return html`<div class="pending" aria-busy="true" aria-label="Loading">${Array.from({ length: lines }, (_, i) => html`<i key=${i} />`)}</div>`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, set] = useState(false);
  useEffect(() => {
    const timer = done && setTimeout(() => set(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  if (!navigator.clipboard) return null;
  return html`<button class="quiet small" onClick=${() => navigator.clipboard.writeText(text).then(() => set(true))}>${done ? "Copied" : label}</button>`;
}

// A button that says what it did when it could not: `act` returns a promise.
export function Act({ act, children, className = "", disabled = false, title, onProblem }) {
  const [busy, set] = useState(false);
  const press = async () => {
    set(true);
    try {
      await act();
      onProblem?.(null);
    } catch (problem) {
      onProblem?.(problem);
    } finally {
      set(false);
    }
  };
  return html`<button class=${className} disabled=${disabled || busy} aria-busy=${busy} title=${title} onClick=${press}>${children}</button>`;
}

export function Dialog({ title, onClose, children, wide = false }) {
  const box = useRef();
  useLayoutEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    box.current.querySelector("input, select, textarea")?.focus();
    return () => before?.isConnected && before.focus();
  }, []);
  return html`<dialog
    ref=${box}
    class=${wide ? "wide" : ""}
    aria-label=${title}
    onClose=${onClose}
    onClick=${(event) => event.target === box.current && box.current.close()}
  ><div class="inside"><header><h2>${title}</h2><button class="quiet small" aria-label="Close" onClick=${() => box.current.close()}>✕</button></header>${children}</div></dialog>`;
}

// Ask before what cannot be undone.
export function Confirm({ title, text, verb, act, onClose, dangerous = true }) {
  const [problem, set] = useState(null);
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${text}</p>
    <${Trouble} problem=${problem} />
    <footer><button onClick=${onClose}>Leave it</button>
    <${Act} className=${dangerous ? "danger" : "primary"} act=${async () => { await act(); onClose(); }} onProblem=${set}>${verb}<//></footer>
  <//>`;
}

// Names and values, in two columns that do not move.
export function Facts({ rows }) {
  const shown = rows.filter(([, value]) => value != null && value !== "" && value !== false);
  return html`<dl class="facts">${shown.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// A tag leads to the jobs that have it; that of a sweep to its map.
const tagged = (tag) => (tag.startsWith("sweep:") ? to(["sweeps", tag.slice(6)]) : to(["jobs"], { tag }));

export const Tags = ({ tags }) => (tags?.length ? html`<span class="tags">${tags.map((tag) => html`<a class="tag" key=${tag} title=${tag} href=${tagged(tag)}>${tag.startsWith("sweep:") ? "sweep" : tag}</a>`)}</span>` : null);

export function elapsed(job, now = Date.now()) {
  if (!job.started_at) return null;
  const end = job.ended_at ? new Date(job.ended_at) : isOver(job) ? null : now;
  return end === null ? null : Math.max(0, (end - new Date(job.started_at)) / 1000);
}

// Say to a screen reader what changed.
export function Spoken({ children }) {
  return html`<p class="spoken" role="status" aria-live="polite">${children}</p>`;
}

export function Head({ title, children, sub }) {
  useEffect(() => {
    document.title = typeof title === "string" ? `${title} · bgsim` : "bgsim";
  }, [title]);
  return html`<header class="head"><div class="what"><h1 tabindex="-1">${title}</h1>${sub && html`<p class="sub">${sub}</p>`}</div>${children && html`<div class="actions">${children}</div>`}</header>`;
}
