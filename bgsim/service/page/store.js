// What the page knows of jobs and of the engine, brought up to date by events. A view that shows a job listens to its id,
// so a row changes in place. Listeners are called before a frame is painted: never in a tab that is not seen.

import { useEffect, useReducer, useRef, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { onLive } from "./live.js";

const MOST_JOBS = 5000;
const jobs = new Map(); // id -> { job, at }
const watchers = new Map(); // id or "engine" -> listeners
const changed = new Set();
let frame = 0;

const TERMINAL = new Set(["completed", "failed", "cancelled"]);
export const isOver = (job) => TERMINAL.has(job?.state);

let engine = null;
const throughput = []; // [seconds, replicates a second]

function touch(key) {
  changed.add(key);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const keys = [...changed];
    changed.clear();
    for (const one of keys) for (const listener of [...(watchers.get(one) ?? [])]) listener();
  });
}

function watch(key, listener) {
  if (!watchers.has(key)) watchers.set(key, new Set());
  watchers.get(key).add(listener);
  return () => {
    const left = watchers.get(key);
    left?.delete(listener);
    if (!left?.size) watchers.delete(key);
  };
}

// `at` is when the answer was asked for: it does not undo an event that came meanwhile.
export function putJob(job, at = performance.now()) {
  const known = jobs.get(job.id);
  if (known && known.at > at) return known.job;
  const merged = { ...known?.job, ...job };
  if (known?.job.parameters && (!job.parameters || "..." in job.parameters)) merged.parameters = known.job.parameters;
  jobs.delete(job.id);
  jobs.set(job.id, { job: merged, at });
  for (const id of jobs.keys()) {
    if (jobs.size <= MOST_JOBS) break;
    if (!watchers.has(id)) jobs.delete(id);
  }
  touch(job.id);
  return merged;
}

// The job that a request answers with.
export async function takeJob(request) {
  const at = performance.now();
  return putJob(await request(), at);
}

export const knownJob = (id) => jobs.get(id)?.job;

export const throughputSoFar = () => throughput;

function takeEngine(told) {
  engine = { ...engine, ...told };
  const rate = told.replicates_per_second;
  if (rate != null) {
    throughput.push([Date.now() / 1000, rate]);
    while (throughput.length > 1200) throughput.shift();
  }
  touch("engine");
}

export async function loadStats(signal) {
  const stats = await get("v1/stats", { signal });
  takeEngine(stats);
  return stats;
}

const eventListeners = new Set();

onLive((message) => {
  if (message.kind === "event") {
    if (message.name === "engine") takeEngine(message.data);
    else if (message.data?.job && jobs.has(message.data.job.id)) putJob(message.data.job);
  }
  eventListeners.forEach((listener) => listener(message));
});

function useAgain() {
  return useReducer((turn) => turn + 1, 0)[1];
}

function useWatch(key) {
  const again = useAgain();
  useEffect(() => watch(key, again), [key]);
}

export function useJob(id) {
  useWatch(id);
  return knownJob(id);
}

export function useEngine() {
  useWatch("engine");
  return engine;
}

// Call `listener(name, data)` for events; for "resync", too, which says that events were missed.
export function useEvents(listener) {
  const newest = useRef(listener);
  newest.current = listener;
  useEffect(() => {
    const hear = (message) => message.kind === "event" && newest.current(message.name, message.data);
    eventListeners.add(hear);
    return () => eventListeners.delete(hear);
  }, []);
}

// A call at most once in `ms`, the last one included, and in a tab that is seen.
export function useThrottled(call, ms) {
  const state = useRef({ due: 0, timer: 0, frame: 0 });
  const newest = useRef(call);
  newest.current = call;
  useEffect(() => () => {
    clearTimeout(state.current.timer);
    cancelAnimationFrame(state.current.frame);
  }, []);
  return useRef(() => {
    const now = state.current;
    if (now.timer || now.frame) return;
    now.timer = setTimeout(() => {
      now.timer = 0;
      now.frame = requestAnimationFrame(() => {
        now.frame = 0;
        now.due = performance.now() + ms;
        newest.current();
      });
    }, Math.max(0, now.due - performance.now()));
  }).current;
}

// What a view loads: { data, problem, reload }. The data stay while they are loaded again; other `keys` begin anew.
export function useLoad(load, keys = []) {
  const [state, set] = useState({ data: null, problem: null, keys });
  const running = useRef(null);
  const newest = useRef(load);
  newest.current = load;
  const reload = useRef(async () => {
    running.current?.abort();
    const stop = (running.current = new AbortController());
    try {
      const data = await newest.current(stop.signal);
      if (!stop.signal.aborted) set({ data, problem: null, keys: newest.keys });
    } catch (problem) {
      if (!stop.signal.aborted) set((old) => ({ ...old, problem, keys: newest.keys }));
    }
  }).current;
  newest.keys = keys;
  useEffect(() => {
    reload();
    return () => running.current?.abort();
  }, keys);
  const missed = useThrottled(reload, 500);
  useEvents((name) => name === "resync" && missed());
  const fresh = state.keys === keys || (state.keys ?? []).every((key, i) => key === keys[i]);
  return { data: fresh ? state.data : null, problem: fresh ? state.problem : null, reload, set: (data) => set({ data, problem: null, keys }) };
}
