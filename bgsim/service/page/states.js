// The states of a job: word, shape, colour, and which may follow which.

import { html } from "./vendor/htm-preact.js";

// As bgsim.job_status.TRANSITIONS has them; a test compares the two.
export const TRANSITIONS = {
  queued: ["delayed", "running", "suspended", "cancelling", "cancelled"],
  delayed: ["queued", "running", "suspended", "cancelling", "completed", "cancelled"],
  running: ["delayed", "suspended", "cancelling", "completed", "cancelled"],
  suspended: ["queued", "delayed", "running", "cancelling", "completed", "cancelled"],
  cancelling: ["failed", "cancelled"],
  completed: [],
  failed: [],
  cancelled: [],
};

const AROUND = 2 * Math.PI * 2.5;

const ring = html`<circle cx="7" cy="7" r="5.5" class="line" />`;
const disc = html`<circle cx="7" cy="7" r="6.25" class="disc" />`;

const SHAPES = {
  queued: () => ring,
  delayed: () => html`${ring}<path d="M7 4v3.2l2 1.2" class="line" />`,
  running: (fraction) => html`${ring}<circle cx="7" cy="7" r="2.5" class="pie" stroke-dasharray="${AROUND * Math.max(0.06, fraction)} 20" transform="rotate(-90 7 7)" />`,
  suspended: () => html`${ring}<path d="M5.6 4.8v4.4M8.4 4.8v4.4" class="line" />`,
  cancelling: () => html`<circle cx="7" cy="7" r="5.5" class="line" stroke-dasharray="2.2 1.8" /><path d="M4.8 7h4.4" class="line" />`,
  completed: () => html`${disc}<path d="M4.3 7.2l1.9 1.9 3.6-4" class="cut" />`,
  failed: () => html`${disc}<path d="M5 5l4 4M9 5l-4 4" class="cut" />`,
  cancelled: () => html`${ring}<path d="M3.4 10.6l7.2-7.2" class="line" />`,
};

export function StateIcon({ state, fraction = 0 }) {
  const shape = SHAPES[state] ?? SHAPES.queued;
  return html`<svg class="icon is-${state in SHAPES ? state : "queued"}" width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">${shape(fraction)}</svg>`;
}

const SHOWN_PHASES = new Set(["compiling", "storing"]);

export function State({ job, phase = false }) {
  const word = phase && job.state === "running" && SHOWN_PHASES.has(job.phase) ? job.phase : job.state;
  return html`<span class="state is-${job.state}"><${StateIcon} state=${job.state} fraction=${job.fraction} />${word}</span>`;
}
