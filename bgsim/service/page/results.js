// What a job has computed, also while it runs: its summary, a histogram, and the running mean with its narrowing interval.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { column, get, part } from "./api.js";
import { Histogram, RunningMean } from "./charts.js";
import { count, measured, number } from "./format.js";
import { Act, Trouble } from "./parts.js";
import { isOver, useLoad, useThrottled } from "./store.js";

const FIRST = 65_536; // replicates that are read for the way of the mean
const POINTS = 60;

// Means of ever more replicates, at numbers that are even on a logarithmic axis.
export function running(values) {
  const points = [];
  const step = Math.max(1.02, values.length ** (1 / POINTS));
  let sum = 0, squares = 0, valid = 0, due = 10, shift = values.find(Number.isFinite) ?? 0;
  values.forEach((value, i) => {
    if (Number.isFinite(value)) {
      valid += 1;
      sum += value - shift;
      squares += (value - shift) ** 2;
    }
    if (i + 1 < due && i + 1 < values.length) return;
    due = Math.max(due + 1, Math.ceil(due * step));
    if (valid < 2) return;
    const mean = sum / valid;
    points.push([i + 1, shift + mean, Math.sqrt(Math.max(0, squares / valid - mean * mean) / (valid - 1))]);
  });
  return points;
}

function useRunningMean(job, name, summary) {
  const [points, set] = useState([]);
  const begun = useRef(null);
  useEffect(() => {
    set([]);
    begun.current = null;
  }, [job.id, name]);
  const found = summary?.outputs?.[name];
  useEffect(() => {
    if (!found || !(found.count > 1) || begun.current === name || job.keep === "summary") return undefined;
    begun.current = name;
    const stop = new AbortController();
    column(`v1/jobs/${part(job.id)}/result?columns=${part(name)}&first=0&count=${Math.min(FIRST, found.count)}&partial=true`, stop.signal)
      .then((values) => values && set((later) => joined(running(values), later)))
      .catch(() => {}); // the way begins with what the summary tells
    return undefined;
  }, [found != null && name]);
  useEffect(() => {
    if (found?.mean != null && found.standard_error != null) set((old) => joined(old, [[found.count, found.mean, found.standard_error]]));
  }, [found?.count]);
  return points;
}

function joined(first, then) {
  const last = first.at(-1)?.[0] ?? 0;
  const all = [...first, ...then.filter(([at]) => at > last)];
  return all.length > 400 ? all.filter((_, i) => i % 2 === 0 || i === all.length - 1) : all;
}

// While many replicates run there are means alone.
function Outputs({ outputs, chosen, choose }) {
  const whole = Object.values(outputs).some(({ quantiles }) => quantiles);
  const columns = [
    ["Deviation", "c-wide", ({ sd }) => sd],
    ["Least", "c-wide", ({ minimum }) => minimum],
    ["Median", "", ({ quantiles }) => quantiles?.["0.5"]],
    ["Most", "c-wide", ({ maximum }) => maximum],
  ].slice(0, whole ? 4 : 0);
  return html`<table class="rows outputs" aria-label="Outputs">
    <thead><tr><th scope="col">Output</th><th scope="col" class="number">Mean</th>${columns.map(([title, look]) => html`<th key=${title} scope="col" class="number ${look}">${title}</th>`)}</tr></thead>
    <tbody>${Object.entries(outputs).map(([name, found]) => html`<tr key=${name} class=${name === chosen ? "selected" : ""} onClick=${() => choose(name)}>
      <th scope="row"><button class="link" aria-pressed=${name === chosen}>${name}</button></th>
      <td class="number">${found.mean && typeof found.mean === "object" ? "array" : measured(found.mean, found.standard_error)}</td>
      ${columns.map(([title, look, pick]) => html`<td key=${title} class="number ${look}">${scalar(pick(found))}</td>`)}
    </tr>`)}</tbody>
  </table>`;
}

const scalar = (value) => (value && typeof value === "object" ? "array" : number(value, 5));

const FORMATS = { CSV: ["text/csv", "csv"], npz: ["application/x-npz", "npz"], JSON: ["application/json", "json"] };

async function save(id, format) {
  const [type, ending] = FORMATS[format];
  const response = await fetch(`v1/jobs/${part(id)}/result`, { headers: { Accept: type }, credentials: "same-origin" });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `The service answered with status ${response.status}.`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${id}.${ending}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

export function Results({ job }) {
  const [name, choose] = useState("");
  const [problem, setProblem] = useState(null);
  const some = (job.replicates_completed ?? 0) > 0;
  const load = useLoad(
    (signal) => (some ? summaryOf(job.id, name, signal) : null),
    [job.id, name, some, job.state === "completed"],
  );
  const again = useThrottled(load.reload, 700);
  useEffect(() => {
    if (some && !isOver(job)) again();
  }, [job.replicates_completed]);
  const kept = useRef(null);
  if (load.data) kept.current = load.data;
  const data = kept.current;
  const points = useRunningMean(job, data?.shown ?? name, data);
  if (!some) return isOver(job) ? html`<p class="faint quiet-box">There are no replicates to show.</p>` : html`<p class="faint quiet-box">Figures appear with the first replicates that are done.</p>`;
  if (!data) return load.problem ? html`<${Trouble} problem=${load.problem} again=${load.reload} />` : html`<div class="pending" aria-busy="true"><i /><i /></div>`;
  return html`
    <p class="faint">of ${count(data.replicates)} replicates${job.state === "completed" ? "" : ", those done so far"}${reachedText(data.stopping)}
      ${job.state === "completed" && job.keep !== "summary" && html`<span class="save">Save as ${Object.keys(FORMATS).map((format) => html`<${Act} key=${format} className="small" act=${() => save(job.id, format)} onProblem=${setProblem}>${format}<//>`)}</span>`}</p>
    <${Trouble} problem=${problem} />
    <${Outputs} outputs=${data.outputs} chosen=${data.shown} choose=${choose} />
    <div class="charts">
      ${data.histogram?.counts?.length > 0 && html`<figure><figcaption>Histogram of ${data.shown}</figcaption><${Histogram} key=${data.shown} histogram=${data.histogram} label="Histogram of ${data.shown}" height=${190} /></figure>`}
      ${points.length > 1 && html`<figure><figcaption>Running mean of ${data.shown}, 95 % interval</figcaption><${RunningMean} key=${data.shown} points=${points} label="Running mean of ${data.shown}, now ${measured(points.at(-1)[1], points.at(-1)[2])}" height=${190} /></figure>`}
    </div>`;
}

const reachedText = (stopping) => (!stopping ? "" : stopping.reached ? "; the precision is reached" : "; the most that may be, and the precision is not reached");

// The summary with the histogram of one output: the chosen one, or the first that is a number.
async function summaryOf(id, name, signal) {
  const path = `v1/jobs/${part(id)}/summary`;
  const first = name ? null : await get(path, { signal });
  const shown = name || Object.entries(first.outputs).find(([, found]) => typeof found.mean === "number")?.[0];
  if (!shown) return { ...first, shown: "" };
  return { ...(await get(`${path}?histogram=${part(shown)}`, { signal })), shown };
}
