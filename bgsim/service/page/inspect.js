// What explains a job: one replicate again, its log, and why it failed.

import { html, useState } from "./vendor/htm-preact.js";
import { get, part } from "./api.js";
import { count, value } from "./format.js";
import { Act, Copy, Empty, Facts, Pending, Time, Trouble } from "./parts.js";
import { useLoad } from "./store.js";

export function Replay({ job }) {
  const [index, set] = useState("0");
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const replay = async () => setFound(await get(`v1/jobs/${part(job.id)}/replicates/${part(index.trim())}`));
  return html`<div class="replay">
    <p class="faint">Each replicate is a function of its number alone: compute one again, and see what it gives.</p>
    <form class="line" onSubmit=${(event) => event.preventDefault()}><label>Replicate <input type="text" inputmode="numeric" value=${index} size="10" onInput=${(event) => set(event.target.value)} /></label>
      <span class="faint">0 to ${count((job.total_replicates ?? job.replicates) - 1)}</span><${Act} act=${replay} onProblem=${(told) => { setProblem(told); if (told) setFound(null); }}>Replay<//></form>
    <${Trouble} problem=${problem} />
    ${found && html`<div role="status" aria-live="polite"><p>Replicate ${count(found.replicate)}</p><${Facts} rows=${named(found.values).map(([name, one]) => [name, value(one)])} /></div>`}
  </div>`;
}

const named = (values) => (values && typeof values === "object" && !Array.isArray(values) ? Object.entries(values) : [["value", values]]);

export function Logs({ id }) {
  const load = useLoad((signal) => get(`v1/jobs/${part(id)}/logs`, { signal }), [id]);
  if (!load.data) return html`<${Pending} load=${load} lines=${2} />`;
  if (!load.data.records.length) return html`<${Empty} title="Nothing was logged for this job." />`;
  return html`<div class="log-bar"><button class="small" onClick=${load.reload}>Read again</button></div>
    <ol class="log" aria-label="Log">${load.data.records.map(({ at, level, logger, message }, i) => html`<li key=${i} class="level-${String(level).toLowerCase()}"><${Time} at=${at} /><b>${level}</b><span class="faint">${logger}</span><span>${message}</span></li>`)}</ol>`;
}

export function Traceback({ text }) {
  return html`<div class="traceback"><${Copy} text=${text} /><pre tabindex="0" aria-label="Traceback">${text}</pre></div>`;
}
