// Schedules: in words, with the next five runs.

import { html, useContext, useState } from "../vendor/htm-preact.js";
import { get, part, patch, post, query, remove } from "../api.js";
import { Field } from "../fields.js";
import { count, pairs } from "../format.js";
import { JobForm } from "../job_form.js";
import { address } from "../job_table.js";
import { Act, Confirm, Dialog, Empty, Head, Pending, Time, Trouble } from "../parts.js";
import { go } from "../route.js";
import { Session, useMay } from "../session.js";
import { takeJob, useEvents, useLoad, useThrottled } from "../store.js";

const extras = {
  initial: { name: "", cron: "0 2 * * *", timezone: "" },
  names: ["name", "cron", "timezone"],
  body: ({ name, cron, timezone }) => ({ name: name.trim(), cron: cron.trim(), ...(timezone.trim() && { timezone: timezone.trim() }) }),
  fields: (options, set, told) => html`
    <${Field} label="Name" name="name" value=${options.name} onInput=${set("name")} error=${told("name")} hint="nightly-prices" />
    <${Field} label="When" name="cron" value=${options.cron} onInput=${set("cron")} error=${told("cron")} hint="minute hour day month weekday: 0 2 * * * is 02:00 each day" />
    <${Field} label="Time zone" name="timezone" value=${options.timezone} onInput=${set("timezone")} error=${told("timezone")} hint="Europe/Berlin; empty: UTC" />`,
};

// A person who sees all tenants says whose schedule is meant.
const addressOf = ({ name, tenant }, own, verb = "") => `v1/schedules/${part(name)}${verb}${query({ tenant: own ? "" : tenant })}`;

function Schedule({ schedule, reload, onRemove, onProblem }) {
  const may = useMay("schedule");
  const { tenant } = useContext(Session);
  const path = addressOf(schedule, tenant);
  const pause = async () => {
    await patch(path, { paused: !schedule.paused });
    await reload();
  };
  const run = async () => go(address((await takeJob(() => post(addressOf(schedule, tenant, "/run")))).id));
  return html`<li class="card schedule ${schedule.paused ? "is-paused" : ""}"><div class="letter-top"><h2>${schedule.name}<small>${schedule.paused ? html`<b class="is-suspended">paused</b>` : (schedule.words)}</small></h2>
      ${may && html`<div class="actions"><${Act} className="small" act=${run} onProblem=${onProblem}>Run now<//><${Act} className="small" act=${pause} onProblem=${onProblem}>${schedule.paused ? "Resume" : "Pause"}<//><button class="small danger" onClick=${() => onRemove(schedule)}>Remove…</button></div>`}</div>
    <p class="faint one-line"><code>${schedule.cron}</code> ${schedule.timezone ?? "UTC"} · ${schedule.short_name} · ${count(schedule.replicates)} replicates${Object.keys(schedule.parameters ?? {}).length ? ` · ${pairs(schedule.parameters).join(" · ")}` : ""}</p>
    <dl class="runs"><div><dt>Last</dt><dd>${schedule.last_run_at ? html`<${Time} at=${schedule.last_run_at} />` : "never"}</dd></div>
      ${(schedule.next_runs ?? []).slice(0, 5).map((at, i) => html`<div key=${at} class=${schedule.paused ? "faint" : ""}><dt>${i ? html`<span class="spoken">then</span>` : "Next"}</dt><dd><${Time} at=${at} /></dd></div>`)}</dl></li>`;
}

export function Schedules() {
  const load = useLoad((signal) => get("v1/schedules", { signal }));
  const again = useThrottled(load.reload, 2000);
  const [adding, add] = useState(false);
  const [removed, setRemoved] = useState(null);
  const [problem, setProblem] = useState(null);
  const may = useMay("schedule");
  const { tenant } = useContext(Session);
  useEvents((name) => name === "job.submitted" && again());
  const schedules = load.data?.schedules;
  const create = async (body) => {
    await post("v1/schedules", body);
    add(false);
    await load.reload();
  };
  return html`<${Head} title="Schedules">${may && html`<button class="primary small" onClick=${() => add(true)}>New schedule</button>`}<//>
    <${Trouble} problem=${problem} />
    ${!schedules ? html`<${Pending} load=${load} />` : schedules.length ? html`<ul class="letters">${schedules.map((schedule) => html`<${Schedule} key="${schedule.tenant} ${schedule.name}" schedule=${schedule} reload=${load.reload} onRemove=${setRemoved} onProblem=${setProblem} />`)}</ul>`
      : html`<${Empty} title="Nothing is scheduled."><p>A schedule submits a job by the clock, such as each night at two.</p>${may && html`<button class="primary" onClick=${() => add(true)}>New schedule</button>`}<//>`}
    ${adding && html`<${Dialog} wide title="New schedule" onClose=${() => add(false)}><${JobForm} settings=${false} extras=${extras} verb="Add the schedule" submit=${create} /><//>`}
    ${removed && html`<${Confirm} title="Remove the schedule" verb="Remove it" text="“${removed.name}” submits no more jobs. Those that it has submitted go on." act=${async () => { await remove(addressOf(removed, tenant)); await load.reload(); }} onClose=${() => setRemoved(null)} />`}`;
}
