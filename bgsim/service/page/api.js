// Requests to the API that everybody uses, and the problems it answers with.

// A number that goes out as it was typed: JavaScript would round a seed of 64 bits.
export class Raw {
  constructor(text) {
    this.text = text;
  }
}

class Problem extends Error {
  constructor(status, told, retryAfter) {
    super(told.detail || told.title || `The service answered with status ${status}.`);
    this.status = status;
    this.title = told.title ?? "";
    this.retryAfter = retryAfter;
    this.errors = (told.errors ?? []).map((error) => ({ ...error, field: fieldOf(error.pointer) }));
  }

  // What is said of one field, "parameters.strike".
  about(field) {
    return this.errors.filter((error) => error.field === field).map(inWords).join(" ");
  }

  // What no input of a form shows.
  beside(fields) {
    const left = this.errors.filter((error) => !fields.has(error.field));
    return this.errors.length && !left.length ? "" : [this.message, ...left.map(inWords).filter((text) => text !== this.message)].join(" ");
  }
}

function fieldOf(pointer) {
  return String(pointer ?? "").replace(/^#?\/?/, "").split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~")).join(".");
}

const inWords = (error) => error.detail ?? "";

let signedOut = () => {};

export function onSignedOut(listener) {
  signedOut = listener;
}

export function encode(value) {
  if (value instanceof Raw) return value.text;
  if (Array.isArray(value)) return `[${value.map((item) => encode(item ?? null)).join(",")}]`;
  if (value && typeof value === "object") {
    const shown = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${shown.map(([name, item]) => `${JSON.stringify(name)}:${encode(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

// Integers beyond 2**53 stay what they are, as texts.
export function decode(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? context.source : value,
  );
}

export function query(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value != null && value !== "") search.append(name, value);
  const text = search.toString();
  return text ? `?${text}` : "";
}

async function answer(method, path, { body, headers = {}, signal } = {}) {
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, {
      method,
      body: body === undefined ? undefined : encode(body),
      headers: { ...sent, ...headers },
      signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "No answer", detail: "The service does not answer. It may have stopped, or the connection may be down." });
  }
  if (response.ok || response.status === 304) return response;
  const told = await response.json().catch(() => ({ title: response.statusText }));
  if (response.status === 401) signedOut();
  throw new Problem(response.status, told, Number(response.headers.get("Retry-After")) || null);
}

async function json(...request) {
  const response = await answer(...request);
  return response.status === 204 ? null : decode((await response.text()) || "null");
}

export const get = (path, options) => json("GET", path, { ...options, headers: { Accept: "application/json" } });
export const post = (path, body, options = {}) => json("POST", path, { ...options, body });
export const patch = (path, body) => json("PATCH", path, { body });
export const remove = (path) => json("DELETE", path);

export const part = encodeURIComponent;

// A column of a result, from the array format of NumPy; null for what is not a row of real numbers.
export async function column(path, signal) {
  const response = await answer("GET", path, { headers: { Accept: "application/x-npy" }, signal });
  return readArray(await response.arrayBuffer());
}

const KINDS = {
  f8: Float64Array, f4: Float32Array, i8: BigInt64Array, u8: BigUint64Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array,
  i1: Int8Array, u1: Uint8Array, b1: Uint8Array,
};

function readArray(buffer) {
  const view = new DataView(buffer);
  const wide = view.getUint8(6) > 1;
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  const kind = KINDS[header.match(/'descr':\s*'[<|=]?(\w\d+)'/)?.[1]];
  const one = /'shape':\s*\(\d+,\)/.test(header);
  return kind && one ? Array.from(new kind(buffer.slice(start + length)), Number) : null;
}
