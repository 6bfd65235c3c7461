// All jobs: filters in the address, pages by cursor, one action on all that match.

import { html, useEffect, useReducer, useRef, useState } from "../vendor/htm-preact.js";
import { get, query as search } from "../api.js";
import { ACTIONS, Bulk } from "../bulk.js";
import { GROUPS, asTyped, forApi, forBulk, fromTyped, inWords, isEmpty } from "../filters.js";
import { count, plural } from "../format.js";
import { useSimulations } from "../job_form.js";
import { JobTable, address } from "../job_table.js";
import { useKeys } from "../keys.js";
import { Empty, Head, Pending, Spoken } from "../parts.js";
import { go, replace, to } from "../route.js";
import { useMay } from "../session.js";
import { putJob, useEngine, useEvents, useLoad, useThrottled } from "../store.js";

const PAGE = 50;
const MOST_NEWS = 1000;
const ID = /^[\w.]+-[\w]+-\d+$/;

async function page(query, signal) {
  const at = performance.now();
  const { cursor, ...rest } = query;
  const answer = await get(`v1/jobs${search({ ...forApi(rest), limit: PAGE, cursor })}`, { signal });
  return { ids: answer.jobs.map((job) => putJob(job, at).id), next: answer.next };
}

function Search({ query, simulations, onSearch, box }) {
  const [text, set] = useState(asTyped(query));
  useEffect(() => set(asTyped(query)), [asTyped(query)]);
  const send = (event) => {
    event.preventDefault();
    if (ID.test(text.trim())) go(address(text.trim()));
    else onSearch(fromTyped(text, query.state));
  };
  return html`<form class="search" role="search" onSubmit=${send}>
    <input ref=${box} type="search" value=${text} list="simulations" aria-label="Search jobs" placeholder="Simulation, strike=100, tag:nightly, since:24h, or an id" onInput=${(event) => set(event.target.value)} autocomplete="off" spellcheck=${false} />
    <kbd aria-hidden="true">/</kbd>
    <datalist id="simulations">${simulations.map(({ short_name: name }) => html`<option key=${name} value=${name} />`)}</datalist>
  </form>`;
}

function States({ query }) {
  const engine = useEngine();
  const live = (states) => states.split(",").reduce((sum, state) => sum + (engine?.states?.[state] ?? 0), 0);
  return html`<div class="tabs" role="group" aria-label="States">${GROUPS.map(({ name, states }) => html`<a key=${name}
    href=${to(["jobs"], { ...query, state: states, cursor: "" })} aria-current=${(query.state ?? "") === states ? "true" : undefined}>${name}${
    /running|queued/.test(states) && live(states) ? html`<span class="number"> ${count(live(states))}</span>` : ""
  }</a>`)}</div>`;
}

const which = (state) => (state === "failed" ? ["retry", "discard"] : /completed|cancelled/.test(state) ? [] : ["cancel", "pause", "resume"]);

function BulkBar({ selection, query, onClear, onAct }) {
  if (selection.size) {
    return html`<div class="bulk" role="toolbar" aria-label="Selected jobs"><span>${plural(selection.size, "job")} selected</span>
      ${Object.entries(ACTIONS).map(([action, { verb }]) => html`<button key=${action} class="small" onClick=${() => onAct(action, { ids: [...selection] }, "the rows you selected")}>${verb}…</button>`)}
      <button class="quiet small" onClick=${onClear}>Clear</button></div>`;
  }
  const { cursor: _, ...filter } = query;
  const actions = isEmpty(filter) ? [] : which(filter.state ?? "");
  return html`<div class="bulk" role="toolbar" aria-label="All jobs that match"><span class="faint">${actions.length ? "All that match" : "Narrow the list, or select rows, to act on many at once."}</span>
    ${actions.map((action) => html`<button key=${action} class="small" onClick=${() => onAct(action, forBulk(filter), inWords(filter))}>${ACTIONS[action].verb}…</button>`)}</div>`;
}

// Jobs that came since the rows were asked for; they are shown when someone wants that, so that no row moves by itself.
function useNews(query, known) {
  const fresh = useRef(new Set()).current;
  const [, draw] = useReducer((turn) => turn + 1, 0);
  const soon = useThrottled(draw, 500);
  const clear = () => {
    fresh.clear();
    draw();
  };
  useEffect(clear, [JSON.stringify(query)]);
  useEvents((name, data) => {
    if (name !== "job.submitted" || query.cursor || fresh.size >= MOST_NEWS) return;
    const { job } = data;
    if (query.simulation && ![job.simulation, job.short_name].includes(query.simulation)) return;
    if (query.tag && !job.tags?.includes(query.tag)) return;
    if (query.state && !query.state.split(",").includes(job.state) && !/queued|running/.test(query.state)) return;
    fresh.add(job.id);
    soon();
  });
  return [[...fresh].filter((id) => !known.includes(id)).length, clear];
}

export function Jobs({ query }) {
  const load = useLoad((signal) => page(query, signal), [JSON.stringify(query)]);
  const { list: simulations } = useSimulations();
  const [current, point] = useState(-1);
  const [selection, select] = useState(() => new Set());
  const [bulk, setBulk] = useState(null);
  const may = useMay("control");
  const submit = useMay("submit");
  const box = useRef();
  const last = useRef(-1);
  const ids = load.data?.ids ?? [];
  const [news, clearNews] = useNews(query, ids);
  useEffect(() => {
    point(-1);
    select(new Set());
  }, [JSON.stringify(query)]);

  const toggle = (id, through = false) => {
    const at = ids.indexOf(id);
    const [low, high] = through && last.current >= 0 ? [Math.min(at, last.current), Math.max(at, last.current)] : [at, at];
    const on = !selection.has(id);
    const next = new Set(selection);
    for (const one of ids.slice(low, high + 1)) on ? next.add(one) : next.delete(one);
    last.current = at;
    select(next);
  };
  const step = (by) => ids.length && point(Math.max(0, Math.min(ids.length - 1, current < 0 ? (by > 0 ? 0 : ids.length - 1) : current + by)));
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    Enter: () => ids[current] && go(address(ids[current])),
    x: () => may && ids[current] && toggle(ids[current]),
    Escape: () => select(new Set()),
    "/": () => {
      box.current.focus();
      box.current.select();
    },
  });
  const newest = () => (query.cursor ? go(to(["jobs"], { ...query, cursor: "" })) : load.reload());
  return html`<${Head} title="Jobs">
      ${news > 0 && html`<button class="small" onClick=${() => { clearNews(); load.reload(); }}>${news < MOST_NEWS ? plural(news, "new job") : `${count(MOST_NEWS)} new jobs and more`}: show</button>`}
      ${submit && html`<a class="button primary small" href="#/new">New job</a>`}
    <//>
    <div class="filters"><${States} query=${query} /><${Search} query=${query} simulations=${simulations} box=${box} onSearch=${(next) => replace(to(["jobs"], next))} /></div>
    ${may && ids.length > 0 && html`<${BulkBar} selection=${selection} query=${query} onClear=${() => select(new Set())} onAct=${(action, filter, words) => setBulk({ action, filter, words })} />`}
    <${Spoken}>${load.data ? plural(ids.length, "row") : ""}<//>
    ${!load.data
      ? html`<${Pending} load=${load} lines=${10} />`
      : ids.length
        ? html`<${JobTable} label="Jobs" ids=${ids} columns=${["state", "job", "parameters", "progress", "priority", "submitted", "time"]} current=${current} onPoint=${point}
            selection=${selection} onSelect=${may ? toggle : null} onSelectAll=${() => select(ids.every((id) => selection.has(id)) ? new Set() : new Set(ids))} />
          <div class="pager">${query.cursor && html`<button class="small" onClick=${newest}>Newest</button>`}${query.cursor && html`<button class="small" onClick=${() => history.back()}>Back</button>`}${load.data.next && html`<a class="button small" href=${to(["jobs"], { ...query, cursor: load.data.next })}>Older</a>`}</div>`
        : isEmpty(query)
          ? html`<${Empty} title="There are no jobs yet.">${submit && html`<a class="button primary" href="#/new">Start a job</a>`}<//>`
          : html`<${Empty} title="No job matches ${inWords(query)}."><a class="button" href="#/jobs">Show all jobs</a><//>`}
    ${bulk && html`<${Bulk} ...${bulk} onClose=${() => setBulk(null)} onDone=${() => { select(new Set()); load.reload(); }} />`}`;
}

