// Slots: the newest two results of a workspace side by side, with the differences of their means.

import { html, useState } from "../vendor/htm-preact.js";
import { get, part, post } from "../api.js";
import { count, measured, number, value } from "../format.js";
import { Act, Empty, Facts, Head, Pending, Time, Trouble } from "../parts.js";
import { to } from "../route.js";
import { useMay } from "../session.js";
import { useEvents, useLoad, useThrottled } from "../store.js";

async function both(workspace, signal) {
  const path = `v1/slots/${part(workspace)}`;
  const slots = await get(path, { signal });
  const comparison = slots.primary && slots.secondary && !slots.primary.gone && !slots.secondary.gone ? await get(`${path}/compare`, { signal }) : null;
  return { slots, comparison };
}

function Slot({ title, slot, differ }) {
  if (!slot) return html`<section class="card slot"><h2>${title}</h2><${Empty} title="Empty"><p>The next result of this workspace comes here.</p><//></section>`;
  if (slot.gone) return html`<section class="card slot"><h2>${title}</h2><${Empty} title="The store no longer has this result." /></section>`;
  const means = Object.entries(slot.summary ?? {}).filter(([, found]) => typeof found.mean === "number");
  return html`<section class="card slot"><h2>${title}<small>${slot.short_name}</small></h2>
    <${Facts} rows=${[
      ...Object.entries(slot.parameters ?? {}).map(([name, found]) => [name, html`<span class=${differ.has(name) ? "differs" : ""}>${value(found)}</span>`]),
      ["replicates", count(slot.replicates)],
      ["seed", slot.seed == null ? null : String(slot.seed)],
      ["placed", html`<${Time} at=${slot.placed_at} />`],
    ]} />
    ${means.length > 0 && html`<table class="rows"><tbody>${means.map(([name, found]) => html`<tr key=${name}><th scope="row">${name}</th><td class="number">${measured(found.mean, found.sd / Math.sqrt(slot.replicates))}</td></tr>`)}</tbody></table>`}
  </section>`;
}

// The interval on an axis with zero; all of a table share no axis, for outputs differ in size.
function Interval({ low, high, difference }) {
  const reach = 1.15 * Math.max(Math.abs(low), Math.abs(high)) || 1;
  const at = (x) => 50 + (50 * x) / reach;
  const clear = low > 0 || high < 0;
  return html`<svg class="interval ${clear ? "clear" : ""}" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">
    <line x1="50" x2="50" y1="0" y2="16" class="zero" /><line x1=${at(low)} x2=${at(high)} y1="8" y2="8" class="range" />
    <line x1=${at(low)} x2=${at(low)} y1="4" y2="12" class="range" /><line x1=${at(high)} x2=${at(high)} y1="4" y2="12" class="range" />
    <line x1=${at(difference)} x2=${at(difference)} y1="2" y2="14" class="middle" /></svg>`;
}

const rowsOf = (outputs) => Object.entries(outputs).filter(([, { difference }]) => typeof difference === "number");

function Comparison({ comparison }) {
  const rows = rowsOf(comparison.outputs);
  const left = Object.keys(comparison.outputs).length - rows.length;
  const paired = rows.some(([, found]) => found.paired);
  return html`<section class="card"><h2>Differences of the means<small>primary less secondary, ${Math.round(100 * comparison.confidence)} % intervals${paired ? ", paired replicate by replicate" : ""}</small></h2>
    ${rows.length ? html`<table class="rows compare" aria-label="Differences"><thead><tr><th scope="col">Output</th><th scope="col" class="number">Difference</th><th scope="col" class="c-wide number">Interval</th><th scope="col" class="c-chart"><span class="spoken">Drawn</span></th><th scope="col">Verdict</th></tr></thead>
      <tbody>${rows.map(([name, { difference, standard_error: error, low, high, paired: pairs }]) => html`<tr key=${name}>
        <th scope="row">${name}</th><td class="number">${measured(difference, error)}</td><td class="c-wide number faint">${number(low, 4)} to ${number(high, 4)}</td>
        <td class="c-chart"><${Interval} low=${low} high=${high} difference=${difference} /></td><td>${low > 0 ? "higher" : high < 0 ? "lower" : html`<span class="faint">no clear difference</span>`}${pairs || !paired ? "" : " (not paired)"}</td></tr>`)}</tbody></table>` : html`<p class="faint">The two results share no output that is a number.</p>`}
    ${left > 0 && html`<p class="faint">${count(left)} more outputs are arrays.</p>`}</section>`;
}

function Workspaces({ list }) {
  return html`<ul class="cards">${list.map((workspace) => {
    return html`<li key=${workspace}><a class="card" href=${to(["slots", workspace])}>${workspace}</a></li>`;
  })}</ul>`;
}

function Workspace({ workspace }) {
  const load = useLoad((signal) => both(workspace, signal), [workspace]);
  const again = useThrottled(load.reload, 1000);
  const [problem, setProblem] = useState(null);
  const may = useMay("control");
  useEvents((name, data) => name === "job.completed" && (data.job.workspace ?? data.job.simulation) === workspace && again());
  const head = (actions) => html`<${Head} title=${workspace} sub=${html`<a href="#/slots">Slots</a>`}>${actions}<//>`;
  if (!load.data) return html`${head()}<${Pending} load=${load} />`;
  const { slots, comparison } = load.data;
  const differ = new Set(Object.keys(comparison?.parameters ?? {}));
  const swap = async () => {
    await post(`v1/slots/${part(workspace)}/swap`);
    await load.reload();
  };
  return html`${head(may && slots.primary && slots.secondary && html`<${Act} className="small" act=${swap} onProblem=${setProblem}>Swap<//>`)}
    <${Trouble} problem=${problem ?? load.problem} />
    <div class="pair"><${Slot} title="Primary" slot=${slots.primary} differ=${differ} /><${Slot} title="Secondary" slot=${slots.secondary} differ=${differ} /></div>
    ${comparison ? html`<${Comparison} comparison=${comparison} />` : html`<p class="faint quiet-box">Two results are compared as soon as both slots hold one: submit another job in the workspace “${workspace}”.</p>`}`;
}

export function Slots({ workspace }) {
  const load = useLoad((signal) => (workspace ? null : get("v1/slots", { signal })), [workspace]);
  if (workspace) return html`<${Workspace} key=${workspace} workspace=${workspace} />`;
  const list = load.data?.workspaces;
  return html`<${Head} title="Slots" sub="A workspace keeps its newest two results, to be compared." />
    ${!list ? html`<${Pending} load=${load} />` : list.length ? html`<${Workspaces} list=${list} />` : html`<${Empty} title="No workspace holds a result."><p>Give a job a workspace, and its result is placed in a slot.</p><a class="button primary" href="#/new">New job</a><//>`}`;
}
