// A new job: empty, from one that was, or from a dead letter with edits.

import { html } from "../vendor/htm-preact.js";
import { get, part, post } from "../api.js";
import { JobForm } from "../job_form.js";
import { address } from "../job_table.js";
import { Empty, Head, Pending } from "../parts.js";
import { go } from "../route.js";
import { useMay } from "../session.js";
import { takeJob, useLoad } from "../store.js";

async function first(query, signal) {
  if (query.from) {
    const job = await get(`v1/jobs/${part(query.from)}`, { signal });
    return job;
  }
  return { simulation: query.simulation ?? "" };
}

// The same press twice is one job, also when the first answer was lost.
async function submit(body, key) {
  const job = await takeJob(() => post("v1/jobs", body, { headers: { "Idempotency-Key": key } }));
  go(address(job.id));
}

function keyFor(body) {
  const text = JSON.stringify(body);
  if (keyFor.text !== text) {
    keyFor.text = text;
    keyFor.key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return keyFor.key;
}

export function NewJob({ query }) {
  const may = useMay("submit");
  const load = useLoad((signal) => first(query, signal), [query.from]);
  const title = query.from ? "Run again" : "New job";
  if (!may) return html`<${Head} title=${title} /><${Empty} title="Your role may look, and not submit."><p>Ask for a token of an operator.</p><//>`;
  if (!load.data) return html`<${Head} title=${title} /><${Pending} load=${load} />`;
  return html`<${Head} title=${title} sub=${query.from && html`With the values of <a href=${address(query.from)}><code>${query.from}</code></a>; change what you like.`} />
    <${JobForm} initial=${load.data} verb="Submit" submit=${async (body) => {
      const key = keyFor(body);
      await submit(body, key);
      keyFor.text = "";
    }} />`;
}
