/** The connection to a server: its address, encryption, API key and limits. */

import { BlockList, isIP } from "node:net";

import { type ChannelOptions, ChannelCredentials, Metadata } from "@grpc/grpc-js";

/** How urgent calls are: interactive calls go before batch calls. */
export type Priority = "interactive" | "batch";

/** How to encrypt a connection. Certificates and keys are PEM. */
export interface Tls {
  /** Authorities that the server's certificate must come from; by default the public ones. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate, for servers that require one. */
  readonly certificate?: string | Uint8Array;
  /** The key of the client's certificate. */
  readonly key?: string | Uint8Array;
  /** The name in the server's certificate; by default the host of the address. */
  readonly serverName?: string;
}

/** The most bytes that a message, with the photos in it, may take in either direction. */
export const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

const OPTIONS: ChannelOptions = {
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.initial_reconnect_backoff_ms": 100, // the default of a second would outlast most retries
  // While a call waits, a connection that something on the way has dropped silently is found within 28 s; servers permit a ping every 10 s.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 8_000,
  "grpc.keepalive_permit_without_calls": 0,
};

const TARGET = /^(?:dns:(?:\/\/\/)?|ipv4:|ipv6:)?(\[[^\]]*\]|[^:/,]*)(?::[0-9]+)?$/;
const KEY = /^[\x21-\x7e]+$/;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Tell whether what is sent to an address stays on this machine; false if the address cannot be parsed. */
export function isLoopback(address: string): boolean {
  if (address.startsWith("unix:")) {
    return true;
  }
  const host = TARGET.exec(address)?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  const family = isIP(host);
  return family === 0 ? host === "localhost" : LOOPBACK.check(host, family === 4 ? "ipv4" : "ipv6");
}

/** Return the options of a channel to an address. */
export function channelOptions(address: string, tls: Tls | undefined): ChannelOptions {
  return {
    ...OPTIONS,
    ...(isLoopback(address) && { "grpc.enable_http_proxy": 0 }),
    ...(tls?.serverName !== undefined && { "grpc.ssl_target_name_override": tls.serverName }),
  };
}

/**
 * Return the credentials of a channel.
 * @throws TypeError for TLS that is not possible with these settings.
 */
export function channelCredentials(tls: Tls | undefined): ChannelCredentials {
  if (tls === undefined) {
    return ChannelCredentials.createInsecure();
  }
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    throw new TypeError("a client's certificate and its key go together; give tls both or neither");
  }
  return ChannelCredentials.createSsl(
    pem(tls.ca, "ca"),
    pem(tls.key, "key"),
    pem(tls.certificate, "certificate"),
  );
}

/**
 * Return the metadata of every call.
 * @throws TypeError for a key or priority that cannot be, and for a key that would leave this machine unencrypted.
 */
export function callMetadata(
  address: string,
  settings: { apiKey?: string; keyInClear?: boolean; priority?: Priority; tls?: Tls },
): Metadata {
  const metadata = new Metadata();
  const { apiKey, priority = "interactive" } = settings;
  if (apiKey !== undefined) {
    if (!KEY.test(apiKey)) {
      throw new TypeError("an API key is one word of ASCII; the one given is empty, or contains spaces or other characters");
    }
    if (settings.tls === undefined && settings.keyInClear !== true && !isLoopback(address)) {
      throw new TypeError(
        `an API key is not sent to ${address} without TLS, because others could read it on the way; ` +
          "to allow it, give Client keyInClear: true",
      );
    }
    metadata.set("authorization", `Bearer ${apiKey}`);
  }
  if (!["interactive", "batch"].includes(priority)) {
    throw new TypeError(`a priority cannot be ${JSON.stringify(priority)}; give "interactive" or "batch"`);
  }
  if (priority !== "interactive") {
    metadata.set("dorian-priority", priority);
  }
  return metadata;
}

function pem(source: string | Uint8Array | undefined, name: string): Buffer | null {
  if (source === undefined) {
    return null;
  }
  const data = Buffer.from(source as Uint8Array);
  if (!data.includes("-----BEGIN ")) {
    throw new TypeError(`the ${name} of tls is not PEM; give the contents of the file`);
  }
  return data;
}
