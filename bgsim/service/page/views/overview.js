// What runs, what waits and why, how fast it goes, and what the store holds.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { Line } from "../charts.js";
import { bytes, compact, count, duration, percent } from "../format.js";
import { JobTable, address } from "../job_table.js";
import { Empty, Head, Pending, Trouble } from "../parts.js";
import { useMay } from "../session.js";
import { StateIcon } from "../states.js";
import { knownJob, loadStats, putJob, throughputSoFar, useEngine, useEvents, useLoad, useThrottled } from "../store.js";

const RUNNING = "running,suspended,cancelling";
const WAITING = "queued,delayed";

async function list(state, limit, signal) {
  const at = performance.now();
  const { jobs } = await get(`v1/jobs?state=${state}&limit=${limit}`, { signal });
  return jobs.map((job) => putJob(job, at).id);
}

function useList(state, limit) {
  const load = useLoad((signal) => list(state, limit, signal), [state]);
  const again = useThrottled(load.reload, 1500);
  return { ...load, again };
}

function Tile({ title, value, unit, note, href }) {
  const body = html`<span class="title">${title}</span><span class="value">${value}${unit && html`<small> ${unit}</small>`}</span><span class="note">${note}</span>`;
  return href ? html`<a class="tile" href=${href}>${body}</a>` : html`<div class="tile">${body}</div>`;
}

function Tiles({ engine }) {
  const { states = {}, queue, queue_wait_s: wait } = engine;
  const waiting = (states.queued ?? 0) + (states.delayed ?? 0);
  return html`<div class="tiles">
    <${Tile} title="Running" value=${count(states.running ?? 0)} note=${states.suspended ? `${count(states.suspended)} suspended` : "jobs"} href="#/jobs?state=running" />
    <${Tile} title="Waiting" value=${count(waiting)} note=${wait?.p50 == null ? "jobs" : `median wait ${duration(wait.p50)}`} href="#/jobs?state=queued,delayed" />
    <${Tile} title="Throughput" value=${compact(engine.replicates_per_second ?? 0)} unit="/s" note=${engine.utilisation == null ? "replicates" : `workers ${percent(engine.utilisation)} busy`} />
    <${Tile} title="Store" value=${compact(engine.stored_results)} unit="results" note=${bytes(engine.stored_bytes)} />
    <${Tile} title="Saved" value=${compact((engine.from_store ?? 0) + (engine.joined ?? 0))} unit="jobs" note="${count(engine.from_store ?? 0)} stored, ${count(engine.joined ?? 0)} joined" />
  </div>`;
}

function Worker({ worker: { worker, job, phase } }) {
  const known = job && knownJob(job);
  const inside = html`<b>${worker}</b><span>${job ? (known?.short_name ?? job.slice(0, 8)) : "idle"}</span><small>${job && phase !== "running" ? phase : ""}</small>`;
  return html`<li class=${job ? "busy" : ""}>${job ? html`<a href=${address(job)}>${inside}</a>` : html`<span>${inside}</span>`}</li>`;
}

function Throughput() {
  useEngine();
  const points = throughputSoFar();
  if (points.length < 2) return html`<p class="faint quiet-box">The line begins with the next figures of the engine.</p>`;
  return html`<${Line} points=${[...points]} height=${130} label="Replicates a second since this page was opened" />`;
}

export function Overview() {
  const engine = useEngine();
  const running = useList(RUNNING, 25);
  const waiting = useList(WAITING, 15);
  const ended = useList("completed,failed,cancelled", 8);
  const stats = useThrottled(() => loadStats().catch(() => {}), 5000);
  const may = useMay("submit");
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    loadStats().catch(setProblem);
  }, []);
  useEvents((name) => {
    if (name === "job.progress") return;
    stats();
    if (name === "engine") return waiting.data?.length && waiting.again(); // its place in the queue may have changed
    running.again();
    waiting.again();
    if (/completed|failed|cancelled|dead/.test(name)) ended.again();
  });
  const quiet = running.data?.length === 0 && waiting.data?.length === 0;
  return html`<${Head} title="Overview" />
    <${Trouble} problem=${problem} />
    ${engine ? html`<${Tiles} engine=${engine} />` : html`<${Pending} load=${{}} lines=${2} />`}
    ${engine?.workers?.length > 0 && html`<section aria-label="Workers"><ul class="workers">${engine.workers.map((worker) => html`<${Worker} key=${worker.worker} worker=${worker} />`)}</ul></section>`}
    <section class="card"><h2>Replicates a second</h2><${Throughput} /></section>
    ${quiet
      ? html`<${Empty} title="Nothing runs and nothing waits.">${may ? html`<a class="button primary" href="#/new">Start a job</a><p>or send one: <code>POST v1/jobs</code></p>` : html`<p>Jobs appear here as soon as someone submits one.</p>`}<//>`
      : html`
        <section><h2><${StateIcon} state="running" fraction=${0.6} />Running</h2>${running.data ? running.data.length ? html`<${JobTable} label="Running jobs" ids=${running.data} columns=${["state", "job", "parameters", "progress", "rate", "time"]} />` : html`<p class="faint quiet-box">Nothing runs.</p>` : html`<${Pending} load=${running} />`}</section>
        <section><h2><${StateIcon} state="queued" />Waiting</h2>${waiting.data ? waiting.data.length ? html`<${JobTable} label="Waiting jobs" ids=${waiting.data} columns=${["state", "job", "why", "priority", "position", "time"]} />` : html`<p class="faint quiet-box">Nothing waits.</p>` : html`<${Pending} load=${waiting} />`}</section>`}
    ${ended.data?.length > 0 && html`<section><h2>Ended last</h2><${JobTable} label="Jobs that ended last" ids=${ended.data} columns=${["state", "job", "parameters", "progress", "submitted", "time"]} /></section>`}`;
}
