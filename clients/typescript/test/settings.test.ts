/** Settings of a client, and the times of its retries, without a server. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { channelOptions, isLoopback } from "../src/channel.js";
import { Busy, Client, type ClientOptions, ConnectionFailed, DeadlineExceeded, faceAt, filter, group, largestFace, years } from "../src/index.js";
import { delayBeforeRetry } from "../src/retries.js";

const KEY = "dorian_0123456789";
const REMOTE = ["faces.example:50051", "10.0.0.5:50051", "dns:///faces.example:443", "0.0.0.0:50051"];

test("a key does not leave the machine unencrypted", () => {
  for (const address of REMOTE) {
    assert.throws(
      () => new Client(address, { apiKey: KEY }),
      (error: Error) => error.message.startsWith(`an API key is not sent to ${address} without TLS`) && !error.message.includes(KEY),
    );
    new Client(address, { apiKey: KEY, keyInClear: true }).close();
    new Client(address, { apiKey: KEY, tls: {} }).close();
    new Client(address).close();
  }
});

test("addresses of this machine", () => {
  const local = ["localhost:50051", "localhost", "127.0.0.1:50051", "127.9.9.9:1", "[::1]:50051", "ipv6:[::1]:50051"];
  local.push("ipv4:127.0.0.1:50051", "dns:///localhost:50051", "dns:localhost:50051", "unix:/run/dorian.sock");
  const other = [...REMOTE, "localhost.example:50051", "127.0.0.1.example:50051", "ipv4:127.0.0.1:1,10.0.0.5:2"];
  other.push("dns://10.0.0.5/localhost:50051", "[::]:50051", "xds:///localhost", "2130706433:1", "127.1:1", "");
  assert.deepEqual(local.filter((address) => !isLoopback(address)), []);
  assert.deepEqual(other.filter(isLoopback), []);
});

test("what is sent to this machine takes no proxy", () => {
  assert.equal(channelOptions("localhost:50051", undefined)["grpc.enable_http_proxy"], 0);
  assert.equal(channelOptions("faces.example:50051", undefined)["grpc.enable_http_proxy"], undefined);
});

const INVALID: [ClientOptions, RegExp][] = [
  [{ apiKey: "" }, /one word of ASCII/],
  [{ apiKey: "two words" }, /one word of ASCII/],
  [{ apiKey: "line\nbreak" }, /one word of ASCII/],
  [{ apiKey: "schlüssel" }, /one word of ASCII/],
  [{ timeoutMs: 0 }, /a timeout cannot be 0 ms/],
  [{ timeoutMs: Number.NaN }, /a timeout cannot be NaN ms/],
  [{ timeoutMs: 2 ** 40 }, /a timeout cannot be 1099511627776 ms/],
  [{ retries: -1 }, /retries cannot be -1/],
  [{ retries: 1.5 }, /retries cannot be 1.5/],
  [{ priority: "soon" as "batch" }, /a priority cannot be "soon"/],
  [{ tls: { key: "-----BEGIN PRIVATE KEY-----" } }, /certificate and its key go together/],
  [{ tls: { ca: "ca.pem" } }, /the ca of tls is not PEM/],
];

test("settings that cannot be", () => {
  for (const [options, message] of INVALID) {
    assert.throws(() => new Client("localhost:1", options), { name: "TypeError", message });
  }
  assert.throws(() => new Client(""), /the server's address is empty/);
});

test("how long a retry waits", () => {
  const never = () => 0;
  const away = new ConnectionFailed("", { code: "UNAVAILABLE" });
  assert.deepEqual([0, 1, 5, 6, 2000].map((count) => delayBeforeRetry(away, count, never)), [100, 200, 3200, 5000, 5000]);
  assert.equal(delayBeforeRetry(new Busy("", { code: "", retryAfterMs: 30_000 }), 3, never), 30_000);
  assert.equal(delayBeforeRetry(new Busy("", { code: "", retryAfterMs: 1_000 }), 0, () => 1), 1_200);
  assert.equal(delayBeforeRetry(new Busy("", { code: "", retryAfterMs: 0 }), 2, never), 400);
  assert.equal(delayBeforeRetry(new Busy("", { code: "" }), 0, never), undefined);
  assert.equal(delayBeforeRetry(new ConnectionFailed("", { code: "DEADLINE_EXCEEDED" }), 0, never), undefined);
  assert.equal(delayBeforeRetry(new DeadlineExceeded("", { code: "" }), 0, never), undefined);
});

test("short forms", () => {
  assert.deepEqual([group("60+"), years(45), filter("old")].map(({ kind }) => kind), [
    { case: "group", value: "60+" },
    { case: "years", value: 45 },
    { case: "filter", value: "old" },
  ]);
  assert.deepEqual([largestFace.kind, faceAt(2).kind], [{ case: "largest", value: true }, { case: "index", value: 2 }]);
});
