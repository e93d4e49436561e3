/**
 * Every call against a real server with TLS and API keys, which DORIAN_TEST_SERVER names; tests/clients/test_typescript.py starts
 * it. DORIAN_TEST_FOLDER holds ca.pem, full.key, age.key (without the scope for searches), face.jpg and blank.jpg.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import {
  Client,
  type ClientOptions,
  ConnectionFailed,
  group,
  ImageFormat,
  InvalidRequest,
  NoFaceError,
  NotFound,
  type OptimizeProgress,
  type OptimizeResult,
  PermissionDenied,
  ReconstructionMode,
  Unauthenticated,
  years,
} from "../src/index.js";

const SERVER = process.env["DORIAN_TEST_SERVER"];
const skip = SERVER === undefined && "needs DORIAN_TEST_SERVER";
const read = (name: string) => readFileSync(join(process.env["DORIAN_TEST_FOLDER"] ?? "", name));
const key = (name: string) => read(name).toString().trim();

const open: Client[] = [];
after(() => open.forEach((client) => client.close()));

function connect(options: ClientOptions = {}): Client {
  const client = new Client(SERVER, { apiKey: key("full.key"), tls: { ca: read("ca.pem") }, ...options });
  open.push(client);
  return client;
}

const photo = (name = "face.jpg") => ({ image: { data: read(name) } });

test("methods", { skip }, async () => {
  const { methods, falseAcceptRates } = await connect().methods();
  assert.equal(methods[0]?.isDefault, true);
  assert.ok(methods[0].ageGroups.some(({ label }) => label === "60+"));
  assert.ok(falseAcceptRates.includes(0.001));
});

test("a face at two ages", { skip }, async () => {
  const request = { ...photo(), targets: [group("60+"), years(20)], output: { format: ImageFormat.PNG } };
  const { results, provenance, facesFound } = await connect().ageTransform(request);
  assert.equal(results.length, 2);
  assert.equal(facesFound, 1);
  assert.equal(provenance?.bundleSha256.length, 64);
  const [old, young] = results.map(({ image, faces }) => {
    assert.equal(Buffer.from(image?.data.subarray(1, 4) ?? []).toString(), "PNG");
    assert.ok(image?.width === 512 && image.height === 512);
    return { data: image.data, age: faces[0]?.estimatedAgeAfter ?? NaN };
  });
  assert.notDeepEqual(old?.data, young?.data);
  assert.ok(old !== undefined && young !== undefined && old.age > young.age + 10, `${old?.age} and ${young?.age} years`);
});

test("faces are found and compared", { skip }, async () => {
  const client = connect();
  const { faces, width } = await client.detect(photo());
  assert.deepEqual([faces.length, faces[0]?.landmarks.length, width], [1, 5, 512]);
  const { similarity, samePerson } = await client.compare({ first: photo().image, second: photo().image });
  assert.ok(samePerson && similarity > 0.999, `${similarity}`);
});

test("a reconstruction, and a search that starts from it", { skip }, async () => {
  const client = connect();
  const { faces, provenance } = await client.reconstruct(photo());
  const start = faces[0]?.latent ?? [];
  assert.ok(start.length > 0);
  const steps: OptimizeProgress[] = [];
  let result: OptimizeResult | undefined;
  const request = { ...photo(), latent: start, search: { maxSteps: 3 }, previewEvery: 1 };
  for await (const event of client.optimize({ ...request, method: provenance?.method ?? "" })) {
    if (event.case === "progress") {
      steps.push(event.value);
    } else {
      result = event.value;
    }
  }
  assert.ok(steps.length > 1 && steps.every(({ bestLoss, loss }) => bestLoss <= loss));
  assert.ok(steps.some(({ preview }) => (preview?.data.length ?? 0) > 100));
  assert.equal(result?.reconstruction?.latent.length, start.length);
});

test("styles of a reference are mixed into a face", { skip }, async () => {
  const request = { ...photo(), references: [{ image: photo().image }], preset: "mid" };
  const response = await connect().mix(request);
  assert.ok((response.result?.image?.data.length ?? 0) > 1000);
  const unknown = { ...request, preset: "all" };
  await assert.rejects(connect().mix(unknown), { constructor: InvalidRequest, reason: "PRESET_UNKNOWN" });
});

test("errors name their reason and field", { skip }, async () => {
  const client = connect();
  const broken = { image: { data: new Uint8Array(100) }, targets: [years(30)] };
  await assert.rejects(client.ageTransform(broken), { constructor: InvalidRequest, reason: "IMAGE_UNREADABLE", field: "image.data" });
  const old = { ...photo(), targets: [years(30), years(900)] };
  await assert.rejects(client.ageTransform(old), { constructor: InvalidRequest, reason: "AGE_OUT_OF_RANGE", field: "targets[1]" });
  const faceless = { ...photo("blank.jpg"), targets: [years(30)] };
  await assert.rejects(client.ageTransform(faceless), { constructor: NoFaceError, reason: "NO_FACE" });
  await assert.rejects(client.methods({ bundle: "none" }), { constructor: NotFound, reason: "BUNDLE_UNKNOWN" });
});

test("keys that are missing, unknown, or lack a scope", { skip }, async () => {
  const tls = { ca: read("ca.pem") };
  const nobody = new Client(SERVER, { tls });
  open.push(nobody);
  await assert.rejects(nobody.methods(), { constructor: Unauthenticated, reason: "API_KEY_MISSING" });
  await assert.rejects(connect({ apiKey: "dorian_no" }).methods(), { constructor: Unauthenticated, reason: "API_KEY_UNKNOWN" });
  const limited = connect({ apiKey: key("age.key") });
  const identity = { ...photo(), mode: ReconstructionMode.IDENTITY };
  await assert.rejects(limited.reconstruct(identity), { constructor: PermissionDenied, reason: "SCOPE_MISSING" });
});

test("servers are trusted by their authority alone", { skip }, async () => {
  for (const options of [{ tls: {} }, { tls: { ca: read("ca.pem"), serverName: "other.example" } }]) {
    await assert.rejects(connect({ ...options, retries: 0 }).methods(), { constructor: ConnectionFailed });
  }
  const plain = new Client(SERVER, { retries: 0, timeoutMs: 10_000 });
  open.push(plain);
  await assert.rejects(plain.methods(), { constructor: ConnectionFailed });
});
