// @ts-check
/** An HTTP server between an app and Dorian: it takes an upload, asks within a deadline, and says what went wrong. */

import { createServer } from "node:http";

import {
  Busy,
  ConnectionFailed,
  DeadlineExceeded,
  group,
  ImageFormat,
  InternalError,
  InvalidRequest,
  largestFace,
  ServerError,
  years,
} from "dorian-client";

const JPEG = { format: ImageFormat.JPEG };
const SEARCH_STEPS = 20;

/** The first class that an error belongs to gives the status. */
const STATUSES = /** @type {const} */ ([
  [InvalidRequest, 422], // the photo or the age: the app tells its user, as the same upload fails again
  [Busy, 503], // the client has retried already
  [ConnectionFailed, 503],
  [DeadlineExceeded, 504],
  [InternalError, 502],
]);

/** What the app is told instead of a photo. */
class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} reason
   * @param {string} message
   * @param {number} [retryAfter] Seconds.
   */
  constructor(status, reason, message, retryAfter) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.retryAfter = retryAfter;
  }
}

/**
 * Return the server; it does not listen yet.
 * @param {import("dorian-client").Client} client
 * @param {object} [limits]
 * @param {number} [limits.maxUploadBytes] Bytes of a photo.
 * @param {number} [limits.maxUploads] Uploads in progress at once.
 * @param {number} [limits.timeoutMs] How long a user waits.
 */
export function createBackend(client, { maxUploadBytes = 10 * 2 ** 20, maxUploads = 16, timeoutMs = 20_000 } = {}) {
  let uploads = 0;

  /** @type {Record<string, (request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse, target: ReturnType<typeof years>, signal: AbortSignal) => Promise<void>>} */
  const routes = {
    "POST /age": async (request, response, target, signal) => {
      const data = await readUpload(request, maxUploadBytes);
      const { results } = await client.ageTransform({ image: { data }, targets: [target], output: JPEG }, { signal, timeoutMs });
      response.writeHead(200, { "content-type": "image/jpeg", "cache-control": "no-store" });
      response.end(results[0]?.image?.data);
    },

    // Searches for the latent that keeps the person, and tells the app how far it is.
    "POST /age/steps": async (request, response, target, signal) => {
      const image = { data: await readUpload(request, maxUploadBytes) };
      const search = client.optimize({ image, face: largestFace, search: { maxSteps: SEARCH_STEPS } }, { signal, timeoutMs });
      for await (const event of search) {
        if (event.case === "progress") {
          send(response, "step", { step: event.value.step, of: SEARCH_STEPS, similarity: event.value.identitySimilarity });
          continue;
        }
        const { reconstruction, provenance } = event.value;
        const latents = [{ face: largestFace, latent: reconstruction?.latent ?? [] }];
        const aged = await client.ageTransform(
          { image, targets: [target], faces: [largestFace], latents, method: provenance?.method ?? "", output: JPEG },
          { signal, timeoutMs },
        );
        send(response, "photo", { jpeg: Buffer.from(aged.results[0]?.image?.data ?? []).toString("base64") });
      }
      response.end();
    },
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://backend");
    const abort = new AbortController();
    response.on("close", () => abort.abort()); // the app has gone: Dorian need not go on
    uploads += 1;
    try {
      const route = routes[`${request.method} ${url.pathname}`];
      if (route === undefined) {
        throw new Refusal(404, "NOT_FOUND", "post a photo to /age or /age/steps");
      }
      if (uploads > maxUploads) {
        throw new Refusal(503, "TOO_MANY_UPLOADS", "too many photos at once; try again in a moment", 1);
      }
      await route(request, response, readTarget(url), abort.signal);
    } catch (error) {
      refuse(request, response, error);
    } finally {
      uploads -= 1;
    }
  });
  server.requestTimeout = 30_000; // for an upload to arrive
  server.headersTimeout = 10_000;
  return server;
}

/**
 * Return the body of a request; nothing of one that is too large is kept.
 * @param {import("node:http").IncomingMessage} request
 * @param {number} maxBytes
 */
async function readUpload(request, maxBytes) {
  const tooLarge = new Refusal(413, "UPLOAD_TOO_LARGE", `a photo may have ${maxBytes} bytes at most`);
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) {
    throw tooLarge;
  }
  /** @type {Buffer[]} */
  const chunks = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size > maxBytes) {
      throw tooLarge;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** @param {URL} url */
function readTarget(url) {
  const to = url.searchParams.get("to");
  if (to === null) {
    throw new Refusal(400, "TARGET_MISSING", "say which age is meant: ?to=45, or a group such as ?to=60%2B");
  }
  return /^\d{1,3}$/.test(to) ? years(Number(to)) : group(to);
}

/**
 * Send an event of a stream (text/event-stream).
 * @param {import("node:http").ServerResponse} response
 * @param {string} event
 * @param {object} data
 */
function send(response, event, data) {
  if (!response.headersSent) {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  }
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

/**
 * Answer with what went wrong: as JSON, or as an event where the stream has begun.
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 * @param {unknown} error
 */
function refuse(request, response, error) {
  request.resume(); // what is still to come of the upload is thrown away
  if (response.destroyed) {
    return;
  }
  const { status, reason, message, retryAfter } = error instanceof Refusal ? error : explain(error);
  if (response.headersSent) {
    send(response, "error", { reason, message });
    response.end();
    return;
  }
  response.writeHead(status, { "content-type": "application/json", ...(retryAfter && { "retry-after": retryAfter }) });
  response.end(JSON.stringify({ reason, message }));
}

/** @param {unknown} error */
function explain(error) {
  const status = STATUSES.find(([kind]) => error instanceof kind)?.[1] ?? 500;
  if (error instanceof InvalidRequest) {
    return new Refusal(status, error.reason ?? error.code, error.message);
  }
  console.error(error instanceof ServerError ? `${error.code} ${error.reason ?? ""}: ${error.message}` : error);
  if (status === 503) {
    const retryAfter = Math.ceil((error instanceof ServerError ? (error.retryAfterMs ?? 0) : 0) / 1000) || 5;
    return new Refusal(status, error instanceof Busy ? "BUSY" : "UNAVAILABLE", "ageing is not available now; try again later", retryAfter);
  }
  return new Refusal(status, status === 504 ? "TOO_SLOW" : "FAILED", "the photo could not be aged");
}
