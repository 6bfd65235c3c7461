// Rows of jobs: a fixed layout, and each row listens to its own job.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { compact, count, duration, pairs, share } from "./format.js";
import { Bar, Tags, Time, elapsed } from "./parts.js";
import { go, to } from "./route.js";
import { State } from "./states.js";
import { isOver, knownJob, useJob } from "./store.js";

export const address = (id) => to(["jobs", id]);

const progress = (job) => html`<div class="progress"><${Bar} job=${job} /><span class="number">${isOver(job) && job.state === "completed" ? count(job.total_replicates ?? job.replicates) : share(job)}</span></div>`;

export function waitsFor(job) {
  const found = job.waiting_for;
  if (!found) return "";
  return typeof found === "string" ? found : found.reason;
}

function timing(job) {
  if (job.state === "running") return job.estimated_time_remaining_s == null ? "–" : html`${duration(job.estimated_time_remaining_s)}<span class="left"> left</span>`;
  if (isOver(job)) return duration(elapsed(job));
  return job.estimated_wait_s == null ? "–" : `in ${duration(job.estimated_wait_s)}`;
}

const COLUMNS = {
  state: { title: "State", className: "c-state", cell: (job) => html`<${State} job=${job} phase />` },
  job: {
    title: "Job",
    className: "c-job",
    cell: (job) => html`<div class="named"><a href=${address(job.id)}>${job.short_name}</a><${Tags} tags=${job.tags} /></div>`,
  },
  parameters: { title: "Parameters", className: "c-parameters", cell: (job, varied) => html`<span class="faint" title=${pairs(job.parameters).join("\n")}>${pairs(job.parameters, varied).join(" · ")}</span>` },
  progress: { title: "Progress", className: "c-progress", cell: progress },
  rate: { title: "Rate", className: "c-rate number", cell: (job) => (job.rate == null ? "" : `${compact(job.rate)}/s`) },
  priority: { title: "Priority", className: "c-priority", cell: (job) => (job.priority === "normal" ? html`<span class="faint">normal</span>` : job.priority) },
  submitted: { title: "Submitted", className: "c-submitted number", cell: (job) => html`<${Time} at=${job.submitted_at} />` },
  time: { title: "Time", className: "c-time number", cell: timing },
  why: { title: "Waits for", className: "c-why", cell: (job) => html`<span title=${waitsFor(job)}>${waitsFor(job) || "–"}</span>` },
  position: { title: "Before it", className: "c-position number", cell: (job) => count(job.position) },
};

// The parameters in which the listed jobs of a simulation differ: what a person looks for comes first in their rows.
function variedOf(ids) {
  const seen = new Map(); // simulation -> name -> JSON, or null where it differs
  for (const job of ids.map(knownJob)) {
    if (!job) continue;
    const names = seen.get(job.simulation) ?? seen.set(job.simulation, new Map()).get(job.simulation);
    for (const [name, value] of Object.entries(job.parameters ?? {})) {
      const text = JSON.stringify(value);
      names.set(name, names.has(name) && names.get(name) !== text ? null : text);
    }
  }
  return new Map([...seen].map(([simulation, names]) => [simulation, new Set([...names.keys()].filter((name) => names.get(name) === null))]));
}

function Row({ id, columns, varied, current, selected, onSelect, onPoint }) {
  const job = useJob(id);
  const line = useRef();
  useEffect(() => {
    if (current) line.current?.scrollIntoView({ block: "nearest" });
  }, [current]);
  if (!job) return null;
  const open = (event) => {
    if (event.target.closest("a, input, label, button") || getSelection().toString()) return;
    event.ctrlKey || event.metaKey ? window.open(address(id)) : go(address(id));
  };
  return html`<tr ref=${line} class="${current ? "current" : ""} ${selected ? "selected" : ""}" aria-selected=${onSelect ? Boolean(selected) : undefined} onClick=${open} onMouseDown=${onPoint}>
    ${onSelect && html`<td class="c-select"><label class="box"><input type="checkbox" checked=${selected} aria-label="Select ${job.short_name} ${id}" onChange=${(event) => onSelect(id, event.shiftKey)} /></label></td>`}
    ${columns.map((key) => html`<td key=${key} class=${COLUMNS[key].className}>${COLUMNS[key].cell(job, varied.get(job.simulation))}</td>`)}
  </tr>`;
}

export function JobTable({ ids, columns, label, current = -1, selection, onSelect, onSelectAll, onPoint }) {
  const varied = variedOf(ids);
  const all = selection && ids.length > 0 && ids.every((id) => selection.has(id));
  return html`<table class="rows jobs" aria-label=${label}>
    <thead><tr>
      ${onSelect && html`<th class="c-select" scope="col"><label class="box"><input type="checkbox" checked=${all} aria-label="Select all rows shown" onChange=${onSelectAll} /></label></th>`}
      ${columns.map((key) => html`<th key=${key} class=${COLUMNS[key].className} scope="col">${COLUMNS[key].title}</th>`)}
    </tr></thead>
    <tbody>${ids.map((id, at) => html`<${Row} key=${id} id=${id} columns=${columns} varied=${varied} current=${at === current} selected=${selection?.has(id)} onSelect=${onSelect} onPoint=${onPoint && (() => onPoint(at))} />`)}</tbody>
  </table>`;
}
