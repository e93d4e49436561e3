// Calls of the gateway: forms in, JSON or images out, problems as errors. A busy server is asked again after the time that it names.

const MAX_TRIES = 4;
const MAX_WAIT = 15; // seconds; a longer wait is for people to decide

let key = "";

export class Problem extends Error {
  constructor(message, { status = 0, reason = null, field = null, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.field = field;
    this.retryAfter = retryAfter;
  }

  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export function setKey(value) {
  key = value.trim();
}

export function listMethods() {
  return call("/v1/methods", { method: "GET" }).then((response) => response.json());
}

export function detect(photo, signal) {
  return call("/v1/detect", { method: "POST", body: form({ photo }), signal }).then((response) => response.json());
}

// what: "age" or "mix".
export function change(what, photo, options, signal) {
  return call(`/v1/${what}`, { method: "POST", body: form({ photo, ...options }), signal }).then((response) => response.json());
}

// The picture alone, as a file of a type.
export function changeOne(what, photo, options, type, signal) {
  const init = { method: "POST", body: form({ photo, ...options }), headers: { Accept: type }, signal };
  return call(`/v1/${what}`, init).then((response) => response.blob());
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item === null || item === undefined) continue;
      if (item instanceof Blob) data.append(name, item, "photo");
      else data.append(name, typeof item === "object" ? JSON.stringify(item) : String(item));
    }
  }
  return data;
}

async function call(path, init) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await once(path, init);
    } catch (error) {
      const wait = error instanceof Problem ? error.retryAfter : null;
      if (wait === null || wait > MAX_WAIT || tries >= MAX_TRIES) throw error;
      await pause(wait * 1000, init.signal);
    }
  }
}

async function once(path, init) {
  const headers = { Accept: "application/json", ...init.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached. Check your connection.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.detail || `The server answered ${response.status}.`, {
    status: response.status,
    reason: problem.reason ?? null,
    field: problem.field ?? null,
    retryAfter: problem.retry_after ?? null,
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
