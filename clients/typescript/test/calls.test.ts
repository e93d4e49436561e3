/** Retries, deadlines, cancellation, errors and limits, against a server that does as it is told. */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type TestContext, test } from "node:test";

import { status } from "@grpc/grpc-js";

import { Busy, Client, type ClientOptions, ConnectionFailed, DeadlineExceeded, InvalidRequest, NoFaceError, NotFound, PermissionDenied, type SearchEvent, ServerError, Unauthenticated } from "../src/index.js";
import { type Answer, FakeServer, failure, methods, silence } from "./fake_server.js";

const PHOTO = { image: { data: new Uint8Array([1, 2, 3]) } };
const busy = (retryAfterMs?: number): Answer => () =>
  failure(status.RESOURCE_EXHAUSTED, "QUEUE_FULL", retryAfterMs === undefined ? {} : { retryAfterMs });
const away: Answer = () => failure(status.UNAVAILABLE, "NOT_READY");
const step = (number: number) => ({ kind: { case: "progress" as const, value: { step: number } } });

/** Start a server that answers so, and a client of it, for one test. */
async function connect(t: TestContext, answers: Answer[], options: ClientOptions = {}) {
  const server = await new FakeServer(...answers).start();
  const client = new Client(server.address, { timeoutMs: 10_000, ...options });
  t.after(() => {
    client.close();
    server.stop();
  });
  return { server, client };
}

/** Return what a call throws, which must be of a class. */
async function thrown<T extends Error>(kind: new (...rest: never[]) => T, call: Promise<unknown>): Promise<T> {
  const error: unknown = await call.then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof kind, String(error));
  return error;
}

/** Wait until a call has been cancelled on the server. */
async function cancelled(server: FakeServer): Promise<void> {
  while (!server.calls.at(-1)?.cancelled) {
    await sleep(5);
  }
}

test("a busy server is asked again after the time that it names", async (t) => {
  const { server, client } = await connect(t, [busy(80), busy(80), methods]);
  const begin = performance.now();
  assert.equal((await client.methods()).serverVersion, "fake");
  assert.ok(performance.now() - begin >= 160);
  assert.equal(server.calls.length, 3);
});

test("a retry that would come too late is not awaited", async (t) => {
  const { server, client } = await connect(t, [busy(60_000)]);
  const begin = performance.now();
  const error = await thrown(Busy, client.methods());
  assert.ok(performance.now() - begin < 5_000);
  assert.deepEqual(
    [error.code, error.reason, error.retryAfterMs, error.field, error.metadata],
    ["RESOURCE_EXHAUSTED", "QUEUE_FULL", 60_000, undefined, { limit: "4" }],
  );
  assert.equal(server.calls.length, 1);
});

test("without a time to retry after, a busy server is not asked again", async (t) => {
  const { server, client } = await connect(t, [busy(), methods]);
  await thrown(Busy, client.methods());
  assert.equal(server.calls.length, 1);
});

test("retries have a limit", async (t) => {
  const { server, client } = await connect(t, [busy(1)], { retries: 2 });
  await thrown(Busy, client.methods());
  assert.equal(server.calls.length, 3);
});

test("a server that takes no calls yet is asked again", async (t) => {
  const { server, client } = await connect(t, [away, methods]);
  assert.equal((await client.methods()).serverVersion, "fake");
  assert.equal(server.calls.length, 2);
});

test("a server that starts late is found", async (t) => {
  const { server } = await connect(t, [methods]);
  const port = Number(server.address.split(":")[1]);
  server.stop();
  const client = new Client(server.address, { timeoutMs: 10_000 });
  const call = client.methods();
  await sleep(200);
  const late = await new FakeServer(methods).start(port);
  t.after(() => {
    client.close();
    late.stop();
  });
  assert.equal((await call).serverVersion, "fake");
});

test("no server at all", async (t) => {
  const { server, client } = await connect(t, [methods], { retries: 1 });
  server.stop();
  const error = await thrown(ConnectionFailed, client.methods());
  assert.match(error.message, new RegExp(`^cannot reach a server at ${server.address}: `));
});

test("a call ends with its deadline, on the server too", async (t) => {
  const { server, client } = await connect(t, [methods, silence]);
  await client.methods();
  const begin = performance.now();
  const error = await thrown(DeadlineExceeded, client.methods({}, { timeoutMs: 200 }));
  assert.ok(performance.now() - begin < 5_000);
  assert.equal(error.message, `no answer from the server at ${server.address} within 0.2 s`);
  await cancelled(server);
});

test("retries share the deadline", async (t) => {
  const { client } = await connect(t, [methods, busy(400), silence]);
  await client.methods();
  const begin = performance.now();
  await thrown(DeadlineExceeded, client.methods({}, { timeoutMs: 1_500 }));
  assert.ok(performance.now() - begin < 1_850, `${performance.now() - begin} ms`);
});

test("a signal cancels a call, on the server too", async (t) => {
  const { server, client } = await connect(t, [silence]);
  const abort = new AbortController();
  const call = client.methods({}, { signal: abort.signal });
  while (server.calls.length === 0) {
    await sleep(5);
  }
  abort.abort(new RangeError("the app has gone"));
  await thrown(RangeError, call);
  await cancelled(server);
});

test("a signal cancels the wait for a retry", async (t) => {
  const { server, client } = await connect(t, [busy(8_000)]);
  const begin = performance.now();
  const error = await client.methods({}, { signal: AbortSignal.timeout(300) }).catch((error: unknown) => error);
  assert.equal((error as DOMException).name, "TimeoutError");
  assert.ok(performance.now() - begin < 4_000);
  assert.equal(server.calls.length, 1);
});

test("an aborted signal sends nothing", async (t) => {
  const { server, client } = await connect(t, [methods]);
  await thrown(DOMException, client.methods({}, { signal: AbortSignal.abort() }));
  assert.equal(server.calls.length, 0);
});

test("a search yields its steps and its result", async (t) => {
  const { client } = await connect(t, [
    away,
    (call) => {
      call.write(step(0));
      call.write(step(1));
      call.write({ kind: { case: "result", value: { reconstruction: { latent: [0.5] } } } });
      call.end();
    },
  ]);
  const events: SearchEvent[] = [];
  for await (const event of client.optimize(PHOTO)) {
    events.push(event);
  }
  assert.deepEqual(events.map((event) => event.case), ["progress", "progress", "result"]);
});

test("a search that has begun is not sent again", async (t) => {
  const fails: Answer = (call) => {
    call.write(step(0));
    setTimeout(() => call.emit("error", failure(status.UNAVAILABLE, "STOPPING")), 50);
  };
  const { server, client } = await connect(t, [fails]);
  const steps: SearchEvent[] = [];
  const search = async () => {
    for await (const event of client.optimize(PHOTO)) {
      steps.push(event);
    }
  };
  const error = await thrown(ConnectionFailed, search());
  assert.deepEqual([error.reason, steps.length, server.calls.length], ["STOPPING", 1, 1]);
});

test("leaving the loop ends a search, on the server too", async (t) => {
  const { server, client } = await connect(t, [(call) => void call.write(step(0))]);
  for await (const event of client.optimize(PHOTO)) {
    assert.equal(event.case, "progress");
    break;
  }
  await cancelled(server);
});

test("a search without a result is the server's fault", async (t) => {
  const { client } = await connect(t, [
    (call) => {
      call.write(step(0));
      call.end();
    },
  ]);
  const search = async () => {
    for await (const _ of client.optimize(PHOTO));
  };
  await assert.rejects(search(), { name: "InternalError", code: "INTERNAL" });
});

const FAILURES: [status, string, typeof ServerError][] = [
  [status.INVALID_ARGUMENT, "IMAGE_UNREADABLE", InvalidRequest],
  [status.INVALID_ARGUMENT, "NO_FACE", NoFaceError],
  [status.NOT_FOUND, "METHOD_UNKNOWN", NotFound],
  [status.UNAUTHENTICATED, "API_KEY_UNKNOWN", Unauthenticated],
  [status.PERMISSION_DENIED, "SCOPE_MISSING", PermissionDenied],
  [status.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT", DeadlineExceeded],
  [status.DATA_LOSS, "A_NEW_ONE", ServerError],
];

test("errors have a class, a reason and the field at fault", async (t) => {
  const answers = FAILURES.map(([code, reason]): Answer => () => failure(code, reason, { field: "image.data" }));
  const { server, client } = await connect(t, answers);
  for (const [code, reason, kind] of FAILURES) {
    const error = await thrown(kind, client.methods());
    assert.deepEqual([error.constructor, error.code, error.reason, error.field], [kind, status[code], reason, "image.data"]);
    assert.match(error.message, new RegExp(`because of ${reason}`));
  }
  assert.equal(server.calls.length, FAILURES.length);
});

test("details of others, and broken ones, are not taken for the server's", async (t) => {
  const broken = failure(status.NOT_FOUND, "X");
  broken.metadata.set("grpc-status-details-bin", Buffer.from([255, 255]));
  const { client } = await connect(t, [() => failure(status.NOT_FOUND, "X", { domain: "proxy.example" }), () => broken]);
  assert.equal((await thrown(NotFound, client.methods())).reason, undefined);
  assert.equal((await thrown(NotFound, client.methods())).reason, undefined);
});

test("key, priority and id go with every call", async (t) => {
  const { server, client } = await connect(t, [methods], { apiKey: "dorian_key", priority: "batch" });
  await client.methods({}, { requestId: "one" });
  await client.methods();
  const sent = server.calls.map(({ metadata }) => metadata.getMap());
  assert.deepEqual(
    sent.map((each) => [each["authorization"], each["dorian-priority"], each["x-request-id"]]),
    [["Bearer dorian_key", "batch", "one"], ["Bearer dorian_key", "batch", undefined]],
  );
});

test("answers may be larger than gRPC's 4 MiB", async (t) => {
  const large: Answer = (call) => {
    call.write({ serverVersion: "x".repeat(9 * 2 ** 20) });
    call.end();
  };
  const { client } = await connect(t, [large]);
  assert.equal((await client.methods()).serverVersion.length, 9 * 2 ** 20);
});

test("a request that is too large is not sent", async (t) => {
  const { server, client } = await connect(t, [methods]);
  const error = await thrown(InvalidRequest, client.methods({ bundle: "x".repeat(64 * 2 ** 20) }));
  assert.match(error.message, /^send a smaller photo or ask for fewer ages at once: /);
  assert.equal(server.calls.length, 0);
});
