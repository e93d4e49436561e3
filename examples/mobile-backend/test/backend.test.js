/** The backend over HTTP: with a real Dorian, which DORIAN_TEST_SERVER names as in clients/typescript, and without one. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";

import { Client } from "dorian-client";

import { createBackend } from "../backend.js";

const { DORIAN_TEST_SERVER: SERVER, DORIAN_TEST_FOLDER: FOLDER = "" } = process.env;
const skip = SERVER === undefined && "needs DORIAN_TEST_SERVER";
const read = (name) => readFileSync(join(FOLDER, name));
const started = [];
after(() => started.forEach((open) => open.close()));

/** Start a backend of a client; return a function that posts to it. */
async function start(client, limits) {
  const server = createBackend(client, limits);
  started.push(client, server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  const post = (path, body, options = {}) => fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body, ...options });
  return Object.assign(post, { port });
}

function connect(options = {}) {
  return new Client(SERVER, { apiKey: read("full.key").toString().trim(), tls: { ca: read("ca.pem") }, ...options });
}

/** A client of a port on which nobody listens. */
const nobody = () => new Client("127.0.0.1:1", { retries: 0, timeoutMs: 5_000 });

test("an upload comes back aged", { skip }, async () => {
  const post = await start(connect());
  const answer = await post("/age?to=60%2B", read("face.jpg"));
  const photo = Buffer.from(await answer.arrayBuffer());
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "image/jpeg"]);
  assert.deepEqual([...photo.subarray(0, 3)], [0xff, 0xd8, 0xff]);
  assert.notDeepEqual(photo, read("face.jpg"));
  const { faces } = await started[0].detect({ image: { data: photo } });
  const before = await started[0].detect({ image: { data: read("face.jpg") } });
  assert.ok(faces[0].estimatedAge > before.faces[0].estimatedAge + 10, `${faces[0].estimatedAge} years`);
});

test("a search tells its steps, then the photo", { skip }, async () => {
  const post = await start(connect());
  const answer = await post("/age/steps?to=60%2B", read("face.jpg"));
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  const events = (await answer.text()).trim().split("\n\n").map((event) => {
    const [name, data] = event.split("\n");
    return [name.replace("event: ", ""), JSON.parse(data.replace("data: ", ""))];
  });
  const [last, { jpeg }] = events.pop();
  assert.ok(events.length > 2 && events.every(([name, data]) => name === "step" && data.similarity <= 1.001));
  assert.equal(last, "photo");
  assert.deepEqual([...Buffer.from(jpeg, "base64").subarray(0, 3)], [0xff, 0xd8, 0xff]);
});

test("photos and ages that Dorian rejects are the user's matter", { skip }, async () => {
  const post = await start(connect());
  for (const [path, body, reason] of [
    ["/age?to=60%2B", Buffer.from("no photo"), "IMAGE_UNREADABLE"],
    ["/age/steps?to=60%2B", Buffer.from("no photo"), "IMAGE_UNREADABLE"],
    ["/age?to=30", read("blank.jpg"), "NO_FACE"],
    ["/age?to=forever", read("face.jpg"), "AGE_GROUP_UNKNOWN"],
  ]) {
    const answer = await post(path, body);
    assert.deepEqual([answer.status, (await answer.json()).reason], [422, reason]);
  }
});

test("a wrong key is the operator's matter, and the app is told nothing of it", { skip }, async (t) => {
  const logged = t.mock.method(console, "error", () => undefined);
  const post = await start(connect({ apiKey: "dorian_wrong" }));
  const answer = await post("/age?to=30", read("face.jpg"));
  assert.deepEqual([answer.status, await answer.json()], [500, { reason: "FAILED", message: "the photo could not be aged" }]);
  assert.match(logged.mock.calls[0].arguments[0], /^UNAUTHENTICATED API_KEY_UNKNOWN: /);
});

test("without Dorian the app is told to try again", async (t) => {
  t.mock.method(console, "error", () => undefined);
  const post = await start(nobody());
  for (const path of ["/age?to=30", "/age/steps?to=30"]) {
    const answer = await post(path, Buffer.from("photo"));
    assert.deepEqual([answer.status, answer.headers.get("retry-after")], [503, "5"]);
    assert.equal((await answer.json()).reason, "UNAVAILABLE");
  }
});

test("uploads are bounded, with and without a stated length", async () => {
  const post = await start(nobody(), { maxUploadBytes: 1000 });
  const chunked = new Blob([Buffer.alloc(2 ** 20)]).stream();
  for (const [body, options] of [[Buffer.alloc(1001), {}], [chunked, { duplex: "half" }]]) {
    const answer = await post("/age?to=30", body, options);
    assert.deepEqual([answer.status, (await answer.json()).reason], [413, "UPLOAD_TOO_LARGE"]);
  }
});

test("uploads at once are bounded", async (t) => {
  t.mock.method(console, "error", () => undefined);
  const post = await start(nobody(), { maxUploads: 1 });
  const held = request({ host: "127.0.0.1", port: post.port, path: "/age?to=30", method: "POST" });
  held.on("error", () => undefined);
  held.write("the beginning of a photo");
  let answer, told;
  do {
    answer = await post("/age?to=30", Buffer.alloc(10));
    told = await answer.json();
  } while (told.reason === "UNAVAILABLE"); // the one that is held has not arrived yet
  held.destroy();
  assert.deepEqual([answer.status, answer.headers.get("retry-after"), told.reason], [503, "1", "TOO_MANY_UPLOADS"]);
});

test("requests that the backend does not know", async () => {
  const post = await start(nobody());
  assert.equal((await post("/other?to=30", "")).status, 404);
  assert.equal((await post("/age", "")).status, 400);
});
