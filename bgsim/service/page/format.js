// Numbers, times and durations as texts.

import { settings } from "./settings.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (value) => (value == null ? "–" : whole.format(value));

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export function compact(value) {
  if (value == null) return "–";
  if (value > 0 && value < 10) return number(value, 2);
  return value < 10_000 ? count(value) : new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

// A real number with `digits` significant digits and no zeros behind them.
export function number(value, digits = 6) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return whole.format(value).replace("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

// A mean to the digits that its standard error leaves it: 10.5029 ± 0.0020.
export function measured(mean, error) {
  if (mean == null) return "–";
  if (!(error > 0)) return number(mean);
  const places = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(error))));
  if (Math.abs(mean) >= 1e9 || places > 9) return `${number(mean, 6)} ± ${number(error, 2)}`;
  const fixed = (value) => value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−");
  return `${fixed(mean)} ± ${fixed(error)}`;
}

export const percent = (part, digits = 0) => (part == null ? "–" : `${(100 * part).toFixed(digits)} %`);

// A share of something unfinished never reads as all of it.
export const share = (job) => percent(job.state === "completed" ? 1 : Math.min(job.fraction ?? 0, 0.999), 1);

export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.0995) return `${Math.max(0, Math.round(1000 * seconds))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const rounded = Math.round(seconds);
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([size, unit], i, all) => [
    Math.floor((i ? rounded % all[i - 1][0] : rounded) / size),
    unit,
  ]);
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts.slice(first, first + 2).filter(([amount]) => amount).map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

export function bytes(value) {
  if (value == null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value, unit = 0;
  while (size >= 999.5 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

const two = (value) => String(value).padStart(2, "0");

function fields(text, utc) {
  const date = new Date(text);
  const get = (name) => date[(utc ? "getUTC" : "get") + name]();
  return {
    valid: !Number.isNaN(date.getTime()),
    day: `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`,
    time: `${two(get("Hours"))}:${two(get("Minutes"))}:${two(get("Seconds"))}`,
  };
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

// The time alone for today, otherwise the day, too; the year in place of the time of another year.
export function moment(text, utc = settings.utc) {
  if (!text) return "–";
  const { valid, day, time } = fields(text, utc);
  if (!valid) return text;
  const today = fields(new Date(), utc).day;
  if (day === today) return time;
  const [year, month, date] = day.split("-");
  return `${Number(date)} ${MONTHS[month - 1]} ${year === today.slice(0, 4) ? time.slice(0, 5) : year}`;
}

export function full(text, utc) {
  const { valid, day, time } = fields(text, utc);
  return valid ? `${day} ${time} ${utc ? "UTC" : "local time"}` : text;
}

export const between = (start, end) => (start && end ? Math.max(0, (new Date(end) - new Date(start)) / 1000) : null);

// A value of a parameter on one line.
export function value(found) {
  if (typeof found === "number") return number(found);
  if (typeof found === "string") return found;
  if (found && typeof found === "object") {
    if ("__float__" in found) return found.__float__;
    if ("__enum__" in found) return found.__enum__;
    if ("__array__" in found) return `array of shape (${(found.shape ?? []).join(", ")})`;
  }
  const text = JSON.stringify(found) ?? "–";
  return text.length > 120 ? `${text.slice(0, 117)}…` : text;
}

// Parameters on one line, those named in `first` before the others.
export const pairs = (parameters, first = new Set()) => Object.entries(parameters ?? {}).sort(([a], [b]) => first.has(b) - first.has(a)).map(([name, found]) => (name === "..." ? `… ${found}` : `${name} ${value(found)}`));

// What a precision asks for, in a few words.
export function precisely(precision) {
  const [kind, target] = ["standard_error", "relative", "half_width"].map((name) => [name, precision[name]]).find(([, given]) => given != null) ?? ["precision", ""];
  const shown = kind === "relative" ? `${number(100 * target)} %` : number(target);
  return `${kind === "relative" ? "relative error" : kind.replace("_", " ")} of ${[precision.output].flat().join(", ")} at most ${shown}`;
}
