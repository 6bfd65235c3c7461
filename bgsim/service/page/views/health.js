// Whether the service needs attention, its queues, and what stops and starts the whole engine.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get, part, post } from "../api.js";
import { bytes, count, duration, percent } from "../format.js";
import { address } from "../job_table.js";
import { Act, Confirm, Facts, Head, Pending, Time, Trouble } from "../parts.js";
import { useMay } from "../session.js";
import { StateIcon } from "../states.js";
import { loadStats, useEngine, useEvents, useLoad, useThrottled } from "../store.js";

async function everything(signal) {
  const [health, queues, stats] = await Promise.all([get("v1/health", { signal }), get("v1/queues", { signal }), loadStats(signal)]);
  return { health, queues: queues.queues, stats };
}

function Alerts({ health }) {
  const ids = (list) => (list ?? []).map((id) => html`<a key=${id} href=${address(id)}><code>${id}</code></a> `);
  if (health.ok) return html`<section class="card verdict"><h2><${StateIcon} state="completed" />All is well.</h2></section>`;
  return html`<section class="card verdict"><h2><${StateIcon} state=${health.healthy ? "suspended" : "failed"} />${health.healthy ? "It works, with a warning." : "It needs attention."}</h2>
    <ul class="plain">${health.alerts.map(({ severity, text }, i) => html`<li key=${i} class=${severity === "error" ? "is-failed" : "is-suspended"}><b>${severity}</b> <span>${text}</span></li>`)}</ul>
    <${Facts} rows=${[["Stalled", health.stalled?.length > 0 && ids(health.stalled)], ["Asked to stop", health.overdue?.length > 0 && ids(health.overdue)]]} /></section>`;
}

const spread = (quantiles) => (quantiles?.p50 == null ? null : `median ${duration(quantiles.p50)}, 9 of 10 within ${duration(quantiles.p90)}, 99 of 100 within ${duration(quantiles.p99)}`);

function Queues({ queues, reload, onProblem }) {
  const may = useMay("manage");
  const used = queues.filter((queue) => queue.paused || queue.waiting + queue.active + queue.delayed + queue.completed + queue.failed > 0);
  if (!used.length) return html`<p class="faint quiet-box">A queue appears with the first job of a simulation.</p>`;
  const change = (queue) => async () => {
    await post(`v1/queues/${part(queue.simulation)}/${queue.paused ? "resume" : "pause"}`);
    await reload();
  };
  return html`<table class="rows queues" aria-label="Queues"><thead><tr><th scope="col">Simulation</th><th scope="col" class="number">Waiting</th><th scope="col" class="number">Active</th><th scope="col" class="number c-wide">Delayed</th><th scope="col" class="number c-wide">Completed</th><th scope="col" class="number">Failed</th>${may && html`<th scope="col" class="c-act"><span class="spoken">Actions</span></th>`}</tr></thead>
    <tbody>${used.map((queue) => html`<tr key=${queue.simulation}><th scope="row" title=${queue.simulation}>${queue.short_name}${queue.paused ? html` <b class="is-suspended">paused</b>` : ""}</th><td class="number">${count(queue.waiting)}</td><td class="number">${count(queue.active)}</td><td class="number c-wide">${count(queue.delayed)}</td><td class="number c-wide">${count(queue.completed)}</td><td class="number">${count(queue.failed)}${queue.failed_rate ? html` <small class="faint">${percent(queue.failed_rate)}</small>` : ""}</td>
      ${may && html`<td class="c-act"><${Act} className="small" act=${change(queue)} onProblem=${onProblem}>${queue.paused ? "Resume" : "Pause"}<//></td>`}</tr>`)}</tbody></table>`;
}

const ASKED = {
  drain: { title: "Drain the engine", verb: "Drain", text: "The service takes no new jobs, and those that it has go on to their end." },
  clean: { title: "Clean the history", verb: "Clean", text: "Rows of jobs that ended 7 days ago and earlier are forgotten. Stored results stay." },
};

function Audit({ turn }) {
  const load = useLoad((signal) => get("v1/audit?limit=50", { signal }));
  const again = useThrottled(load.reload, 2000);
  useEvents((name) => name !== "job.progress" && again());
  useEffect(again, [turn]);
  if (!load.data) return html`<${Pending} load=${load} />`;
  if (!load.data.entries.length) return html`<p class="faint quiet-box">Nothing was changed over HTTP yet.</p>`;
  return html`<table class="rows audit" aria-label="Audit log"><thead><tr><th scope="col" class="c-submitted">At</th><th scope="col">Action</th><th scope="col" class="c-wide">By</th><th scope="col" class="number c-status">Status</th></tr></thead>
    <tbody>${load.data.entries.map((entry) => html`<tr key=${entry.id}><td class="c-submitted"><${Time} at=${entry.at} /></td><td title=${entry.detail}>${entry.action.split(" ")[0]} <span class="faint">${entry.target}</span></td><td class="c-wide faint">${[entry.role, entry.tenant, entry.token].filter(Boolean).join(" · ")}</td><td class="number c-status">${entry.status}</td></tr>`)}</tbody></table>`;
}

export function Health() {
  const load = useLoad(everything);
  const again = useThrottled(load.reload, 3000);
  const engine = useEngine();
  const [asked, ask] = useState(null);
  const [turn, setTurn] = useState(0); // of what was done here, which the audit log then shows
  const [problem, setProblem] = useState(null);
  const may = useMay("manage");
  useEvents((name) => name !== "job.progress" && name !== "resync" && again());
  const reload = async () => {
    await load.reload();
    setTurn((before) => before + 1);
  };
  const verb = (name) => async () => {
    await post(`v1/engine/${name}`, name === "clean" ? {} : undefined);
    await reload();
  };
  const paused = engine?.paused || engine?.draining;
  return html`<${Head} title="Health">${may && html`<${Act} className="small" act=${verb(paused ? "resume" : "pause")} onProblem=${setProblem}>${paused ? "Resume the engine" : "Pause the engine"}<//>
      <button class="small" onClick=${() => ask("clean")}>Clean…</button><button class="small danger" onClick=${() => ask("drain")} disabled=${engine?.draining}>${engine?.draining ? "Draining" : "Drain…"}</button>`}<//>
    <${Trouble} problem=${problem} />
    ${!load.data ? html`<${Pending} load=${load} />` : html`<${Alerts} health=${load.data.health} />
      <section class="card"><h2>Engine</h2><${Facts} rows=${[
        ["Waits", spread(load.data.stats.queue_wait_s)], ["Runs", spread(load.data.stats.run_time_s)], ["Workers busy", percent(load.data.stats.utilisation)], ["Retries", count(load.data.stats.retries)],
        ["Stored", load.data.stats.stored_results != null && `${count(load.data.stats.stored_results)} results, ${bytes(load.data.stats.stored_bytes)}`], ["Evicted", load.data.health.evicted > 0 && `${count(load.data.health.evicted)} results`], ["Version", load.data.stats.version],
      ]} /></section>
      <section><h2>Queues</h2><${Queues} queues=${load.data.queues} reload=${reload} onProblem=${setProblem} /></section>`}
    ${may && html`<section><h2>Audit log</h2><${Audit} turn=${turn} /></section>`}
    ${asked && html`<${Confirm} ...${ASKED[asked]} dangerous=${asked === "drain"} act=${verb(asked)} onClose=${() => ask(null)} />`}`;
}

