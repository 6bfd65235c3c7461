// What a list of jobs is narrowed to: in the address, as a person types it, and as the API takes it.

export const GROUPS = [
  { name: "All", states: "" },
  { name: "Running", states: "running,suspended,cancelling" },
  { name: "Waiting", states: "queued,delayed" },
  { name: "Completed", states: "completed" },
  { name: "Failed", states: "failed" },
  { name: "Cancelled", states: "cancelled" },
];

const SPANS = { m: 60, min: 60, h: 3600, d: 86_400, w: 7 * 86_400 };

const quoted = (text) => (/[\s"]/.test(text) ? JSON.stringify(text) : text);

// "asian_call strike=100 tag:nightly since:24h"
export function asTyped(query) {
  const words = [];
  if (query.simulation) words.push(quoted(query.simulation));
  for (const [name, value] of Object.entries(query)) if (name.startsWith("parameter.")) words.push(`${name.slice(10)}=${quoted(value)}`);
  if (query.tag) words.push(`tag:${quoted(query.tag)}`);
  if (query.since) words.push(`since:${query.since}`);
  if (query.until) words.push(`until:${query.until}`);
  return words.join(" ");
}

export function fromTyped(text, state) {
  const query = { state };
  for (const [, name, sign, rest] of text.matchAll(/(?:([\w.-]+)([=:]))?("(?:[^"\\]|\\.)*"|\S+)/g)) {
    let value = rest;
    if (rest.startsWith('"')) {
      try {
        value = JSON.parse(rest);
      } catch {
        // an odd quotation stays as it was typed
      }
    }
    if (sign === "=") query[`parameter.${name}`] = value;
    else if (["tag", "since", "until"].includes(name)) query[name] = value;
    else query.simulation = sign ? `${name}${sign}${value}` : value;
  }
  return query;
}

// A span such as "24h" is counted back from now; a date is what it is.
export function instant(text, now = Date.now()) {
  const found = text?.match(/^(\d+)\s*(min|m|h|d|w)$/);
  if (found) return new Date(now - 1000 * Number(found[1]) * SPANS[found[2]]).toISOString();
  const date = new Date(text ?? "");
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}

export function forApi(query) {
  const { since, until, ...rest } = query;
  return { ...rest, ...(since && { since: instant(since) }), ...(until && { until: instant(until) }) };
}

function scalar(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// The filter of a bulk action for what the list shows.
export function forBulk(query) {
  const { state, simulation, tag, since, until } = forApi(query);
  const parameters = Object.fromEntries(Object.entries(query).filter(([name]) => name.startsWith("parameter.")).map(([name, value]) => [name.slice(10), scalar(value)]));
  return {
    ...(state && { state: state.split(",") }),
    ...(simulation && { simulation }),
    ...(tag && { tag }),
    ...(since && { since }),
    ...(until && { until }),
    ...(Object.keys(parameters).length && { parameters }),
  };
}

export const isEmpty = (query) => !Object.values(query).some(Boolean);

export function inWords(query) {
  const state = GROUPS.find(({ states }) => states === (query.state ?? ""))?.name.toLowerCase() ?? query.state;
  const rest = asTyped(query);
  return [query.state && state, rest].filter(Boolean).join(", ");
}
