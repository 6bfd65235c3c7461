// Dead letters: jobs that failed for good, to be tried again with edits or discarded.

import { html, useState } from "../vendor/htm-preact.js";
import { get, part, post, remove } from "../api.js";
import { Bulk } from "../bulk.js";
import { count, pairs, plural } from "../format.js";
import { Traceback } from "../inspect.js";
import { JobForm } from "../job_form.js";
import { address } from "../job_table.js";
import { Act, Confirm, Dialog, Empty, Head, Pending, Time, Trouble } from "../parts.js";
import { go } from "../route.js";
import { useMay } from "../session.js";
import { takeJob, useEvents, useLoad, useThrottled } from "../store.js";

const loadLetters = (signal) => get("v1/dead-letters", { signal });

const retry = async (letter, body) => go(address((await takeJob(() => post(`v1/dead-letters/${part(letter.id)}/retry`, body))).id));

function Letter({ letter, onEdit, onDiscard, onProblem }) {
  const may = useMay("control");
  const attempts = letter.attempts ?? [];
  const last = attempts.at(-1);
  return html`<li class="card letter"><div class="letter-top"><h2><a href=${address(letter.id)}>${letter.short_name}</a><small>${count(letter.replicates)} replicates, failed <${Time} at=${letter.failed_at} />${attempts.length > 1 ? `, ${attempts.length} attempts` : ""}</small></h2>
      ${may && html`<div class="actions"><${Act} className="small" act=${() => retry(letter, {})} onProblem=${onProblem}>Retry<//><button class="small" onClick=${() => onEdit(letter)}>Retry with edits…</button><button class="small danger" onClick=${() => onDiscard(letter)}>Discard…</button></div>`}</div>
    <p class="faint one-line">${pairs(letter.parameters).join(" · ")}</p>
    <p class="said">${letter.error}</p>
    ${last?.traceback && html`<details><summary>Traceback</summary><${Traceback} text=${last.traceback} /></details>`}</li>`;
}

export function DeadLetters() {
  const load = useLoad(loadLetters);
  const again = useThrottled(load.reload, 1000);
  const [edited, edit] = useState(null);
  const [discarded, discard] = useState(null);
  const [bulk, setBulk] = useState(null);
  const [problem, setProblem] = useState(null);
  const may = useMay("control");
  useEvents((name) => /dead_lettered|failed|submitted/.test(name) && again());
  const letters = load.data?.dead_letters;
  return html`<${Head} title="Dead letters" sub=${letters?.length ? plural(load.data.total, "job") : undefined}>
      ${may && letters?.length > 1 && html`<button class="small" onClick=${() => setBulk("retry")}>Retry all…</button><button class="small danger" onClick=${() => setBulk("discard")}>Discard all…</button>`}<//>
    <${Trouble} problem=${problem} />
    ${!letters ? html`<${Pending} load=${load} />` : letters.length ? html`<ul class="letters">${letters.map((letter) => html`<${Letter} key=${letter.id} letter=${letter} onEdit=${edit} onDiscard=${discard} onProblem=${setProblem} />`)}</ul>` : html`<${Empty} title="No job failed for good."><p>A job whose last retry failed waits here, with its traceback, until someone retries or discards it.</p><//>`}
    ${edited && html`<${Dialog} wide title="Retry with edits" onClose=${() => edit(null)}><p class="said">${edited.error}</p><${JobForm} fixed settings=${false} initial=${edited} verb="Retry" submit=${(body) => retry(edited, body)} /><//>`}
    ${discarded && html`<${Confirm} title="Discard the dead letter" verb="Discard it" text="Its traceback goes with it. Finished replicates stay in the store." act=${async () => { await remove(`v1/dead-letters/${part(discarded.id)}`); await load.reload(); }} onClose=${() => discard(null)} />`}
    ${bulk && html`<${Bulk} action=${bulk} filter=${{ state: ["failed"] }} words="all that failed" onClose=${() => setBulk(null)} onDone=${load.reload} />`}`;
}
