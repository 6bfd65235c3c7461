// Inputs of forms: each with its label, what it takes, and what the service said of it.

import { html, useRef } from "./vendor/htm-preact.js";
import { Raw } from "./api.js";
import { number, value as shown } from "./format.js";

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

// What was typed as JSON has it: numbers as they were typed, everything else that is JSON as such, or the text itself.
export function typed(text) {
  const trimmed = text.trim();
  if (NUMBER.test(trimmed)) return numeral(trimmed);
  try {
    return JSON.parse(trimmed);
  } catch {
    return trimmed;
  }
}

function numeral(text) {
  const [, sign, body] = text.match(/^([-+]?)(.*)$/);
  const [mantissa, exponent] = body.toLowerCase().split("e");
  const [before, after] = mantissa.split(".");
  const whole = (before || "0").replace(/^0+(?=\d)/, "");
  return new Raw(`${sign === "-" ? "-" : ""}${whole}${after ? `.${after}` : ""}${exponent ? `e${exponent}` : ""}`);
}

// A count as people write it: 200000, 200_000, 2e5, 1.5M.
export function counted(text) {
  const trimmed = text.trim().replaceAll(/[_,\s]/g, "");
  const found = trimmed.match(/^(\d*\.?\d+)([kmb])$/i);
  const amount = found ? Number(found[1]) * { k: 1e3, m: 1e6, b: 1e9 }[found[2].toLowerCase()] : Number(trimmed);
  return trimmed && Number.isFinite(amount) ? (Number.isSafeInteger(amount) && !/^\d+$/.test(trimmed) ? amount : typed(trimmed)) : trimmed;
}

export function asText(value) {
  if (value == null) return "";
  if (typeof value === "object" && "__float__" in value) return value.__float__;
  return typeof value === "string" ? value : JSON.stringify(value);
}

let ids = 0;

export function Field({ label, name, value, onInput, error, hint, unit, kind = "text", choices, wide = false, placeholder, aside, none = "–", rows = 2, changed = false, list }) {
  const id = useRef(`f${++ids}`).current;
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ") || undefined;
  const common = { id, name, "aria-invalid": error ? "true" : undefined, "aria-describedby": described, autocomplete: "off", spellcheck: false };
  const input = (event) => onInput(event.target.type === "checkbox" ? event.target.checked : event.target.value);
  const control = {
    choice: () => html`<select ...${common} value=${value} onChange=${input}>${choices.map((choice) => html`<option key=${choice} value=${choice}>${choice === "" ? none : choice}</option>`)}</select>`,
    flag: () => html`<label class="check"><input type="checkbox" ...${common} checked=${value} onChange=${input} /> ${value ? "yes" : "no"}</label>`,
    long: () => html`<textarea ...${common} rows=${rows} value=${value} placeholder=${placeholder} onInput=${input} />`,
    text: () => html`<input ...${common} type="text" value=${value} placeholder=${placeholder} onInput=${input} list=${list} />`,
  }[kind]();
  return html`<div class="field ${wide || kind === "long" ? "wide" : ""} ${changed ? "changed" : ""} ${error ? "wrong" : ""}">
    <div class="label"><label for=${id}>${label}</label>${unit && html`<span class="unit">${unit}</span>`}${aside}</div>
    ${control}
    ${error && html`<p class="error" id="${id}-error">${error}</p>`}
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
  </div>`;
}

const LONG = /[[{]|array|tuple|list|dict|mapping|sequence/i;

// Whether one line of an input takes it.
export const isScalar = ({ type, choices, default: from }) => Boolean(choices?.length) || !(LONG.test(type) || (from && typeof from === "object"));

// "1 ≤ x ≤ 1,000,000"
function range({ ge, gt, le, lt }) {
  const finite = (bound) => bound != null && Math.abs(plain(bound)) < 1e40;
  const low = finite(ge) && plain(ge) !== 1e-50 ? `${number(plain(ge))} ≤ ` : finite(gt) ? `${number(plain(gt))} < ` : "";
  const high = finite(le) ? ` ≤ ${number(plain(le))}` : finite(lt) ? ` < ${number(plain(lt))}` : "";
  return low || high ? `${low}x${high}` : "";
}

const plain = (bound) => (bound && typeof bound === "object" ? Number(String(bound.__float__ ?? Number.NaN).replace("inf", "Infinity")) : Number(bound));

export function beginning(parameter, given) {
  const from = given !== undefined ? given : parameter.derived || parameter.required ? undefined : parameter.default;
  if (parameter.type === "bool") return from === true;
  return asText(from && typeof from === "object" && "__enum__" in from ? from.__enum__ : from);
}

export function ParameterField({ parameter, value, onInput, error, aside }) {
  const { name, doc, unit, choices, type, required, derived } = parameter;
  const limits = range(parameter);
  const words = [doc, limits, required && "required", derived && "worked out from the others if empty"].filter(Boolean).join("; ");
  const given = value !== beginning(parameter);
  const kind = type === "bool" ? "flag" : choices?.length ? "choice" : isScalar(parameter) ? "text" : "long";
  const options = choices?.map((choice) => (choice && typeof choice === "object" ? (choice.__enum__ ?? shown(choice)) : String(choice)));
  const all = kind === "choice" && (required || derived) ? ["", ...options] : options;
  return html`<${Field}
    label=${name} name="parameters.${name}" unit=${unit} hint=${words} kind=${kind} choices=${all} value=${value} onInput=${onInput} error=${error}
    changed=${given} aside=${aside} placeholder=${kind === "long" ? `JSON: ${type}` : required ? String(type) : ""}
  />`;
}

// The parameters of a request: what is empty or as at first keeps its default.
export function parametersOf(declared, values) {
  const made = {};
  for (const parameter of declared) {
    const value = values[parameter.name];
    if (!parameter.required && value === beginning(parameter)) continue;
    if (typeof value === "boolean") made[parameter.name] = value;
    else if (value != null && value !== "") made[parameter.name] = /\bstr\b/.test(parameter.type) || parameter.choices?.length ? chosen(parameter, value) : typed(value);
  }
  return made;
}

function chosen(parameter, text) {
  const found = parameter.choices?.find((choice) => String(choice?.__enum__ ?? choice) === text);
  return found && typeof found !== "object" ? found : text;
}
