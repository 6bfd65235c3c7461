// Sweeps: a grid of parameters as one request, and its means as a map that fills in.

import { html, useState } from "../vendor/htm-preact.js";
import { get, part, post } from "../api.js";
import { Line } from "../charts.js";
import { Field, isScalar, typed } from "../fields.js";
import { count, plural } from "../format.js";
import { HeatMap } from "../heat_map.js";
import { JobForm } from "../job_form.js";
import { Bar, Empty, Head, Pending, Spoken, Time, Trouble } from "../parts.js";
import { go, to } from "../route.js";
import { useMay } from "../session.js";
import { useEvents, useLoad, useThrottled } from "../store.js";

const MOST_POINTS = 10_000;

// "80, 90, 100" or "80 to 120 in 9"
export function gridValues(text) {
  const even = text.match(/^\s*(\S+)\s+to\s+(\S+)\s+in\s+(\d+)\s*$/);
  if (even) {
    const [low, high, steps] = even.slice(1).map(Number);
    if (Number.isFinite(low) && Number.isFinite(high) && steps > 1 && steps <= MOST_POINTS)
      return Array.from({ length: steps }, (_, i) => Number((low + ((high - low) * i) / (steps - 1)).toPrecision(12)));
  }
  return text.split(",").map((one) => one.trim()).filter(Boolean).map(typed);
}

function Values({ parameter: { name, unit }, value, onInput, error, aside }) {
  const amount = gridValues(value).length;
  return html`<${Field} label=${name} name="grid.${name}" unit=${unit} value=${value} onInput=${onInput} error=${error} aside=${aside} changed
    placeholder="80, 90, 100 or 80 to 120 in 9" hint=${value.trim() ? plural(amount, "value") : "80, 90, 100 or 80 to 120 in 9"} />`;
}

const vary = {
  Field: Values,
  toggle: (parameter, varied, set, values) => {
    if (!isScalar(parameter)) return null;
    const on = varied[parameter.name] !== undefined;
    const press = () => set(({ [parameter.name]: _, ...rest }) => (on ? rest : { ...rest, [parameter.name]: String(values?.[parameter.name] ?? "") }));
    return html`<button type="button" class="quiet small vary" aria-pressed=${on} onClick=${press}>${on ? "One value" : "Vary"}</button>`;
  },
};

export function NewSweep({ query }) {
  if (!useMay("submit")) return html`<${Head} title="New sweep" /><${Empty} title="Your role may look, and not submit." />`;
  const submit = async (body, varied) => {
    const grid = Object.fromEntries(Object.entries(varied).map(([name, text]) => [name, gridValues(text)]));
    const sweep = await post("v1/sweeps", { ...body, grid });
    remember({ id: sweep.id, simulation: body.simulation, grid: Object.fromEntries(Object.entries(grid).map(([name, values]) => [name, values.length])), points: sweep.points });
    go(to(["sweeps", sweep.id]));
  };
  return html`<${Head} title="New sweep" sub="Press Vary beside a parameter and give its values. Each combination becomes a job; two varied parameters make a map." />
    <${JobForm} key=${query.from ?? ""} initial=${{ simulation: query.simulation, replicates: 10_000 }} verb="Submit the sweep" vary=${vary} submit=${submit} />`;
}

// The sweeps that were started in this browser; those of others are found by the tag of their jobs.
const STARTED = `bgsim.sweeps ${new URL(".", document.baseURI).pathname}`;
const MOST_STARTED = 30;

const started = () => JSON.parse(localStorage.getItem(STARTED) ?? "[]");

function remember(sweep) {
  localStorage.setItem(STARTED, JSON.stringify([{ ...sweep, submitted_at: new Date().toISOString() }, ...started()].slice(0, MOST_STARTED)));
}

export function Sweeps() {
  const may = useMay("submit");
  const sweeps = started();
  return html`<${Head} title="Sweeps">${may && html`<a class="button primary small" href="#/sweeps/new">New sweep</a>`}<//>
    ${!sweeps.length ? html`<${Empty} title="No sweep was started in this browser."><p>A sweep runs one simulation over a grid of parameters. Others are a press on the tag <code>sweep:…</code> of their jobs away.</p>${may && html`<a class="button primary" href="#/sweeps/new">New sweep</a>`}<//>` : html`
    <table class="rows" aria-label="Sweeps"><thead><tr><th scope="col">Sweep</th><th scope="col" class="c-wide">Grid</th><th scope="col" class="number c-priority">Points</th><th scope="col" class="number c-submitted">Submitted</th></tr></thead>
      <tbody>${sweeps.map((sweep) => html`<tr key=${sweep.id} onClick=${(event) => event.target.closest("a") || go(to(["sweeps", sweep.id]))}>
        <td><a href=${to(["sweeps", sweep.id])}>${short(sweep)}</a></td><td class="c-wide faint">${Object.entries(sweep.grid).map(([name, values]) => `${name} × ${values}`).join(" · ")}</td>
        <td class="number c-priority">${count(sweep.points)}</td><td class="number c-submitted"><${Time} at=${sweep.submitted_at} /></td></tr>`)}</tbody></table>
    <p class="faint quiet-box">Those that were started in this browser. Others: press the tag <code>sweep:…</code> of one of their jobs.</p>`}`;
}

const short = (sweep) => sweep.short_name ?? String(sweep.simulation ?? "").split(".").at(-1);
const axes = (sweep) => Object.entries(sweep.grid);

function Progress({ sweep }) {
  const { total } = sweep;
  const ended = sweep.completed + sweep.failed + sweep.cancelled;
  const job = { state: sweep.failed ? "failed" : ended >= total ? "completed" : "running", fraction: total ? ended / total : 0, total_replicates: total };
  return html`<div class="progress"><${Bar} job=${job} label="${count(ended)} of ${count(total)} points" /><span class="number">${count(ended)} of ${count(total)}</span></div>`;
}

const outputsOf = (points) => [...new Set(points.flatMap(({ means }) => Object.entries(means ?? {}).filter(([, mean]) => typeof mean === "number").map(([name]) => name)))];

export function Sweep({ id }) {
  const load = useLoad((signal) => get(`v1/sweeps/${part(id)}`, { signal }), [id]);
  const again = useThrottled(load.reload, 800);
  const [chosen, choose] = useState("");
  const [turn, setTurn] = useState(0);
  const sweep = load.data;
  const ids = new Set(sweep?.points.map(({ job }) => job));
  useEvents((name, data) => name !== "job.progress" && data?.job && ids.has(data.job.id) && again());
  if (!sweep) return html`<${Head} title="Sweep" /><${Pending} load=${load} />`;
  const names = axes(sweep).sort(([, a], [, b]) => b.length - a.length).map(([name]) => name);
  const [across, down] = turn && names.length > 1 ? [names[1], names[0]] : names;
  const outputs = outputsOf(sweep.points);
  const output = outputs.includes(chosen) ? chosen : (outputs[0] ?? "");
  const failed = sweep.points.filter(({ state }) => state === "failed");
  const line = !down && sweep.grid[across]?.every((one) => typeof one === "number") && sweep.points.filter(({ means }) => typeof means?.[output] === "number");
  return html`<${Head} title=${short(sweep)} sub=${html`<a href="#/sweeps">Sweeps</a> / <code>${id}</code>`}>
      ${outputs.length > 1 && html`<label class="pick">Output <select aria-label="Output" value=${output} onChange=${(event) => choose(event.target.value)}>${outputs.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`}
      ${names.length > 1 && html`<button class="small" onClick=${() => setTurn(1 - turn)}>Turn</button>`}
    <//>
    <${Spoken}>${count(sweep.completed)} of ${count(sweep.total)} points completed<//>
    <section class="card"><div class="sweep-top"><${Progress} sweep=${sweep} />${failed.length > 0 && html`<span class="bad">${plural(failed.length, "point")} failed</span>`}${output && html`<span class="faint">mean of ${output}${names.length > 2 ? `; ${names.slice(2).join(", ")} at the first value` : ""}</span>`}</div>
      <${HeatMap} sweep=${sweep} output=${output} across=${across} down=${down} /></section>
    ${line && line.length > 1 && html`<section class="card"><h2>${output} over ${across}</h2><${Line} time=${false} height=${200} points=${line.map(({ parameters, means }) => [parameters[across], means[output]]).sort((a, b) => a[0] - b[0])} label="${output} over ${across}" /></section>`}
    ${failed.length > 0 && html`<section><h2>Failed points</h2><ul class="plain">${failed.slice(0, 20).map((point) => html`<li key=${point.job}><a href=${to(["jobs", point.job])}>${names.map((name) => `${name} ${point.parameters[name]}`).join(", ")}</a> <span class="faint">${point.error ?? ""}</span></li>`)}</ul></section>`}
    <${Trouble} problem=${load.problem} />`;
}
