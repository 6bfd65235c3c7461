// One job: where it is, what it has found, and what can be done with it.

import { html, useState } from "../vendor/htm-preact.js";
import { get, part, patch, post } from "../api.js";
import { count, duration, plural, precisely, share, value } from "../format.js";
import { Logs, Replay, Traceback } from "../inspect.js";
import { PRIORITIES } from "../job_form.js";
import { address, waitsFor } from "../job_table.js";
import { Act, Bar, Confirm, Copy, Empty, Facts, Head, Pending, Spoken, Tags, Time, Trouble, elapsed } from "../parts.js";
import { Results } from "../results.js";
import { go, to } from "../route.js";
import { useMay } from "../session.js";
import { State } from "../states.js";
import { Timeline } from "../timeline.js";
import { isOver, takeJob, useJob, useLoad } from "../store.js";

const verb = (id, name) => () => takeJob(() => post(`v1/jobs/${part(id)}/${name}`));
const retry = async (id) => go(address((await takeJob(() => post(`v1/jobs/${part(id)}/retry`, {}))).id));

function Actions({ job, onProblem }) {
  const control = useMay("control");
  const submit = useMay("submit");
  const [asked, ask] = useState(false);
  const over = isOver(job);
  const pausable = ["queued", "delayed", "running"].includes(job.state);
  return html`
    ${submit && job.state === "failed" && html`<${Act} act=${() => retry(job.id)} onProblem=${onProblem}>Retry<//>`}
    ${submit && html`<a class="button" href=${to(["new"], { from: job.id })}>Run again</a>`}
    ${control && pausable && html`<${Act} act=${verb(job.id, "pause")} onProblem=${onProblem}>Pause<//>`}
    ${control && job.state === "suspended" && html`<${Act} act=${verb(job.id, "resume")} onProblem=${onProblem}>Resume<//>`}
    ${control && !over && html`<button class="danger" disabled=${job.state === "cancelling"} onClick=${() => ask(true)}>Cancel</button>`}
    ${asked && html`<${Confirm} title="Cancel the job" verb="Cancel the job" act=${verb(job.id, "cancel")} onClose=${() => ask(false)}
      text="The replicates that are done stay in the store, so the same request goes on from there." />`}`;
}

function Progress({ job }) {
  const over = isOver(job);
  const figures = [
    ["done", `${count(job.replicates_completed)} of ${count(job.total_replicates ?? job.replicates)}`],
    ["rate", !over && job.rate != null && `${count(job.rate)} a second`],
    ["left", !over && job.estimated_time_remaining_s != null && duration(job.estimated_time_remaining_s)],
    [over ? "took" : "runs for", job.started_at && duration(elapsed(job))],
    ["from the store", job.from_store > 0 && count(job.from_store)],
    ["tried again", job.retries > 0 && plural(job.retries, "time")],
  ];
  const why = !over && job.state !== "running" && waitsFor(job);
  return html`<section class="card progress-card" aria-label="Progress">
    <div class="top"><${State} job=${job} phase /><b class="number share">${share(job)}</b></div>
    <${Bar} job=${job} />
    <${Facts} rows=${figures} />
    ${why && html`<p class="why" role="status"><b>Waits for</b> ${why}${job.position ? `; ${plural(job.position, "job")} before it` : ""}${job.estimated_wait_s == null ? "" : `; starts in about ${duration(job.estimated_wait_s)}`}</p>`}
    <${Timeline} job=${job} />
  </section>`;
}

function Change({ job, onProblem }) {
  const control = useMay("control");
  const [tags, edit] = useState(null);
  const change = (body) => takeJob(() => patch(`v1/jobs/${part(job.id)}`, body));
  const told = (promise) => promise.then(() => onProblem(null), onProblem);
  if (!control) return html`<${Facts} rows=${[["Priority", job.priority], ["Tags", job.tags?.length > 0 && html`<${Tags} tags=${job.tags} />`]]} />`;
  const save = (event) => {
    event.preventDefault();
    told(change({ tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean) }).then(() => edit(null)));
  };
  return html`<dl class="facts">
    <div><dt><label for="priority">Priority</label></dt><dd>${isOver(job) ? job.priority : html`<select id="priority" value=${job.priority} onChange=${(event) => told(change({ priority: event.target.value }))}>${PRIORITIES.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>`}</dd></div>
    <div><dt>Tags</dt><dd>${tags === null
      ? html`<${Tags} tags=${job.tags} /> <button class="quiet small" onClick=${() => edit((job.tags ?? []).join(", "))}>${job.tags?.length ? "Edit" : "Add"}</button>`
      : html`<form class="line" onSubmit=${save}><input aria-label="Tags, separated by commas" value=${tags} onInput=${(event) => edit(event.target.value)} ref=${(box) => box?.dataset.seen || (box && ((box.dataset.seen = "1"), box.focus()))} /><button class="small">Save</button></form>`}</dd></div>
  </dl>`;
}

function About({ job, onProblem }) {
  const parameters = Object.entries(job.parameters ?? {});
  return html`<aside>
    <section class="card"><h2>Parameters</h2>${parameters.length ? html`<${Facts} rows=${parameters.map(([name, found]) => [name, value(found)])} />` : html`<p class="faint">None.</p>`}</section>
    <section class="card"><h2>Request</h2>
      <${Facts} rows=${[
        ["Simulation", html`<code>${job.simulation}</code>`],
        ["Replicates", job.precision ? `at most ${count(job.replicates)}` : count(job.total_replicates ?? job.replicates)],
        ["Until", job.precision && precisely(job.precision)],
        ["Keeps", job.keep === "summary" && "a summary, no rows"],
        ["Seed", job.seed == null ? null : String(job.seed)],
        ["Submitted", html`<${Time} at=${job.submitted_at} />`],
        ["Started", job.started_at && html`<${Time} at=${job.started_at} />`],
        ["Ended", job.ended_at && html`<${Time} at=${job.ended_at} />`],
        ["Workspace", html`<a href=${to(["slots", job.workspace ?? job.simulation])}>${job.workspace ?? "of the simulation"}</a>`],
        ["Group", job.group],
        ["Tenant", job.tenant],
        ["Webhook", job.webhook],
      ]} />
      <${Change} job=${job} onProblem=${onProblem} />
    </section>
  </aside>`;
}

// The failure with its traceback, which the dead letter keeps.
function Failure({ job }) {
  const letter = useLoad((signal) => get(`v1/dead-letters/${part(job.id)}`, { signal }).catch(() => ({})), [job.id, job.state]);
  const attempts = letter.data?.attempts ?? [];
  const text = attempts.at(-1)?.traceback;
  return html`<section class="failure"><div class="trouble" role="alert"><p>${job.error ?? "It failed."}</p></div>
    ${attempts.length > 1 && html`<p class="faint">The last of ${attempts.length} attempts.</p>`}
    ${text && html`<details open><summary>Traceback</summary><${Traceback} text=${text} /></details>`}</section>`;
}

export function Job({ id }) {
  const loaded = useLoad((signal) => takeJob(() => get(`v1/jobs/${part(id)}`, { signal })), [id]);
  const job = useJob(id);
  const [problem, setProblem] = useState(null);
  const [shown, show] = useState("results");
  if (loaded.problem && !job) {
    const gone = loaded.problem.status === 410 ? "This job has been forgotten." : loaded.problem.status === 404 ? "There is no such job." : null;
    return gone ? html`<${Head} title="Job" /><${Empty} title=${gone}><a class="button" href="#/jobs">Show all jobs</a><//>` : html`<${Head} title="Job" /><${Pending} load=${loaded} />`;
  }
  if (!job) return html`<${Head} title="Job" /><${Pending} load=${loaded} />`;
  const name = job.short_name;
  const turn = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = [...event.currentTarget.children];
    if (by) all[(all.indexOf(event.target) + by + all.length) % all.length].focus();
  };
  const tabs = { results: "Results", replay: "Replay", logs: "Log" };
  return html`<${Head} title=${name} sub=${html`<a href="#/jobs">Jobs</a> / <code>${id}</code> <${Copy} text=${id} /> <${Tags} tags=${job.tags} />`}><${Actions} job=${job} onProblem=${setProblem} /><//>
    <${Spoken}>${name} ${job.state}<//>
    <${Trouble} problem=${problem} />
    ${job.store_error && html`<div class="trouble" role="alert"><p>The result could not be stored: ${job.store_error}</p></div>`}
    <div class="job"><div class="main">
      <${Progress} job=${job} />
      ${job.state === "failed" && html`<${Failure} job=${job} />`}
      <div class="tabs" role="tablist" onKeyDown=${turn}>${Object.entries(tabs).map(([key, title]) => html`<button key=${key} role="tab" tabindex=${shown === key ? 0 : -1} aria-selected=${shown === key} aria-controls="shown" onFocus=${() => show(key)} onClick=${() => show(key)}>${title}</button>`)}</div>
      <section id="shown" role="tabpanel" aria-label=${tabs[shown]}>
        ${shown === "results" ? html`<${Results} job=${job} />` : shown === "replay" ? html`<${Replay} job=${job} />` : html`<${Logs} id=${id} />`}
      </section>
    </div><${About} job=${job} onProblem=${setProblem} /></div>`;
}
