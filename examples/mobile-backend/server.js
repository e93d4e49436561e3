// @ts-check
/** Starts the backend; its settings are environment variables, which the README lists. */

import { readFileSync } from "node:fs";

import { Client } from "dorian-client";

import { createBackend } from "./backend.js";

const { DORIAN_SERVER = "localhost:50051", DORIAN_API_KEY, DORIAN_TLS_CA, HOST = "127.0.0.1", PORT = "8080" } = process.env;

const client = new Client(DORIAN_SERVER, {
  ...(DORIAN_API_KEY && { apiKey: DORIAN_API_KEY }),
  ...(DORIAN_TLS_CA && { tls: { ca: readFileSync(DORIAN_TLS_CA) } }),
});
const backend = createBackend(client);
backend.listen(Number(PORT), HOST, () => {
  const address = backend.address();
  console.log(`listening on ${typeof address === "object" ? `${address?.address}:${address?.port}` : address}`);
});
process.on("SIGTERM", () => backend.close(() => client.close()));
