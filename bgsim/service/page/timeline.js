// The states that a job has been in, drawn as the part of the transitions that it took, and what may follow.

import { html, useRef } from "./vendor/htm-preact.js";
import { between, duration } from "./format.js";
import { Time } from "./parts.js";
import { StateIcon, TRANSITIONS } from "./states.js";
import { isOver } from "./store.js";

function beginning(job) {
  const trail = [{ state: "queued", at: job.submitted_at }];
  if (job.started_at) trail.push({ state: "running", at: job.started_at });
  return trail;
}

function follow(trail, job) {
  const last = trail.at(-1);
  if (job.state === "running" && last.state === "queued") trail.push({ state: "running", at: job.started_at ?? new Date().toISOString() });
  else if (job.state !== last.state) {
    if (isOver(job) && last.state === "queued" && job.started_at) trail.push({ state: "running", at: job.started_at });
    trail.push({ state: job.state, at: isOver(job) ? job.ended_at : new Date().toISOString() });
  }
  return trail;
}

export function Timeline({ job }) {
  const kept = useRef(null);
  kept.current = follow(kept.current ?? beginning(job), job);
  const trail = kept.current;
  const next = TRANSITIONS[job.state] ?? [];
  return html`<ol class="timeline" aria-label="States so far">
    ${trail.map(({ state, at }, i) => {
      const current = i === trail.length - 1;
      const took = between(at, trail[i + 1]?.at);
      return html`<li key=${i} class="is-${state} ${current ? "current" : ""}" aria-current=${current ? "step" : undefined}>
        <span class="word"><${StateIcon} state=${state} fraction=${job.fraction} />${state}</span><small><${Time} at=${at} /></small>
        ${!current && html`<span class="leg"><small>${took == null ? "" : duration(took)}</small></span>`}
      </li>`;
    })}
    ${next.length > 0 && html`<li class="next" title="What may follow"><span class="leg" aria-hidden="true" /><span class="may">${next.map((state) => html`<span key=${state} class="is-${state}"><${StateIcon} state=${state} fraction=${0.6} />${state}</span>`)}</span></li>`}
  </ol>`;
}
