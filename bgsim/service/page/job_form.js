// The form of a job: its simulation, parameters and settings. New jobs, jobs run again, dead letters and schedules use it.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { get, part } from "./api.js";
import { Field, ParameterField, asText, beginning, counted, parametersOf, typed } from "./fields.js";
import { precisely } from "./format.js";
import { Pending, Trouble } from "./parts.js";
import { useLoad } from "./store.js";

export const PRIORITIES = ["critical", "high", "normal", "low"];

const SETTINGS = [
  { name: "tags", label: "Tags", hint: "separated by commas; to find the job by" },
  { name: "workspace", label: "Workspace", hint: "whose slots keep the newest two results" },
  { name: "group", label: "Group", hint: "jobs of a group share its limit" },
  { name: "delay_s", label: "Delay", unit: "seconds" },
  { name: "timeout_s", label: "Time-out", unit: "seconds", hint: "of the run" },
  { name: "queue_timeout_s", label: "Queue time-out", unit: "seconds", hint: "of the wait" },
];

export function useSimulations() {
  const load = useLoad((signal) => get("v1/simulations", { signal }));
  return { ...load, list: load.data?.simulations ?? [] };
}

const useSimulation = (name) => useLoad((signal) => (name ? get(`v1/simulations/${part(name)}`, { signal }) : null), [name]);

function SimulationField({ simulations, value, onInput, error }) {
  return html`<${Field} label="Simulation" name="simulation" kind="choice" wide value=${value} onInput=${onInput} error=${error}
    choices=${["", ...new Set([...simulations.map(({ name }) => name), ...(value ? [value] : [])])]}
    hint=${simulations.find(({ name }) => name === value)?.title}
  />`;
}

// The first field that the service refused gets the focus.
function useRefused(problem, form) {
  useEffect(() => {
    if (problem) form.current?.querySelector("[aria-invalid=true]")?.focus();
  }, [problem]);
}

const beginnings = (initial) => ({
  replicates: asText(initial.replicates ?? 100_000),
  seed: asText(initial.seed),
  priority: initial.priority ?? "",
  tags: (initial.tags ?? []).join(", "),
  workspace: asText(initial.workspace),
  group: asText(initial.group),
  delay_s: "",
  timeout_s: asText(initial.timeout_s),
  queue_timeout_s: "",
  webhook: "",
});

function settingsOf(values, names) {
  const made = {};
  for (const name of names) {
    const text = values[name]?.trim?.() ?? "";
    if (text === "") continue;
    if (name === "tags") made.tags = text.split(",").map((tag) => tag.trim()).filter(Boolean);
    else if (name === "webhook") made.webhook = { url: text };
    else if (name === "replicates") made.replicates = counted(text);
    else if (name.endsWith("_s") || name === "seed") made[name] = typed(text);
    else made[name] = text;
  }
  return made;
}

// A job that is run again keeps what the first one kept, and has its precision, with the replicates as the most.
function keeping(initial, { replicates, ...others }) {
  const kept = initial.keep === "summary" ? { ...others, keep: "summary" } : others;
  if (!initial.precision) return replicates === undefined ? kept : { ...kept, replicates };
  const maximum = replicates ?? initial.precision.maximum;
  const least = initial.precision.minimum;
  return { ...kept, precision: { ...initial.precision, maximum, minimum: Math.min(least, Number(maximum.text ?? maximum) || least) } };
}

// `submit(body)` sends the request; `extra` is what a kind of request has beside, drawn by `extraFields(values, set, error)`.
export function JobForm({ initial = {}, submit, verb, fixed = false, extras = null, vary = null, settings = true, onSimulation }) {
  const simulations = useSimulations();
  const [simulation, choose] = useState(initial.simulation ?? "");
  const described = useSimulation(simulation);
  const [values, setValues] = useState(null);
  const [options, setOptions] = useState(() => ({ ...beginnings(initial), ...extras?.initial }));
  const [varied, setVaried] = useState({});
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef();
  useRefused(problem, form);

  const declared = described.data?.parameters ?? [];
  useEffect(() => {
    if (!described.data) return setValues(null);
    const given = initial.simulation && sameSimulation(initial.simulation, described.data) ? (initial.parameters ?? {}) : {};
    setValues(Object.fromEntries(declared.map((parameter) => [parameter.name, beginning(parameter, given[parameter.name])])));
    setVaried({});
  }, [described.data]);

  const names = useMemo(() => new Set(["simulation", "replicates", "seed", "priority", "webhook", "webhook.url", ...SETTINGS.map(({ name }) => name), ...(extras?.names ?? []),
    ...declared.flatMap(({ name }) => [`parameters.${name}`, `grid.${name}`])]), [described.data]);
  const told = (field) => problem?.about?.(field);
  const set = (name) => (value) => setOptions((old) => ({ ...old, [name]: value }));

  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const fixedParameters = parametersOf(declared.filter(({ name }) => varied[name] === undefined), values ?? {});
      const common = settingsOf(options, ["replicates", "seed", ...(settings ? ["priority", "webhook", ...SETTINGS.map(({ name }) => name)] : ["timeout_s"])]);
      const body = { ...(fixed ? {} : { simulation }), parameters: fixedParameters, ...keeping(initial, common), ...extras?.body(options) };
      await submit(body, varied);
      setProblem(null);
    } catch (refused) {
      setProblem(refused);
    } finally {
      setBusy(false);
    }
  };

  return html`<form class="job-form" ref=${form} onSubmit=${send} noValidate>
    ${extras && html`<div class="fields">${extras.fields(options, set, told)}</div>`}
    ${!fixed && html`<${SimulationField} simulations=${simulations.list} value=${simulation} error=${told("simulation")}
      onInput=${(name) => { choose(name); setProblem(null); onSimulation?.(name); }} />`}
    ${simulation && !described.data && html`<${Pending} load=${described} />`}
    ${values && declared.length > 0 && html`<fieldset><legend>Parameters</legend><div class="fields">${declared.map((parameter) =>
      html`<${vary && varied[parameter.name] !== undefined ? vary.Field : ParameterField} key=${parameter.name} parameter=${parameter}
        value=${varied[parameter.name] ?? values[parameter.name] ?? ""} error=${told(`parameters.${parameter.name}`) || told(`grid.${parameter.name}`)}
        onInput=${(value) => (varied[parameter.name] !== undefined ? setVaried : setValues)((old) => ({ ...old, [parameter.name]: value }))}
        aside=${vary?.toggle(parameter, varied, setVaried, values)}
      />`)}</div></fieldset>`}
    ${values && html`<fieldset><legend>Run</legend><div class="fields">
      <${Field} label="Replicates" name="replicates" value=${options.replicates} onInput=${set("replicates")} error=${told("replicates")} hint=${initial.precision ? `at most; as many as it takes: ${precisely(initial.precision)}` : "200000, 2e5, 1.5M"} />
      <${Field} label="Seed" name="seed" value=${options.seed} onInput=${set("seed")} error=${told("seed")} hint="the same seed gives the same result; empty: 0" />
      ${settings && html`<${Field} label="Priority" name="priority" kind="choice" none="as the simulation has it" choices=${["", ...PRIORITIES]} value=${options.priority} onInput=${set("priority")} error=${told("priority")} />`}
      ${settings && html`<${Setting} setting=${SETTINGS[0]} options=${options} set=${set} told=${told} />`}
    </div></fieldset>`}
    ${values && settings && html`<details open=${SETTINGS.slice(1).some(({ name }) => told(name)) || Boolean(told("webhook.url"))}><summary>More settings</summary><div class="fields">
      ${SETTINGS.slice(1).map((setting) => html`<${Setting} key=${setting.name} setting=${setting} options=${options} set=${set} told=${told} />`)}
      <${Field} label="Webhook" name="webhook" value=${options.webhook} onInput=${set("webhook")} error=${told("webhook.url") || told("webhook")} hint="an https address that hears of the job's end" />
    </div></details>`}
    <${Trouble} problem=${problem} beside=${names} />
    <footer><button type="submit" class="primary" disabled=${busy || !values} aria-busy=${busy}>${verb}</button></footer>
  </form>`;
}

function Setting({ setting: { name, label, unit, hint }, options, set, told }) {
  return html`<${Field} label=${label} name=${name} unit=${unit} hint=${hint} value=${options[name]} onInput=${set(name)} error=${told(name)} />`;
}

const sameSimulation = (name, described) => name === described.name || name === described.short_name;
