/** The client: the calls of the contract, with deadlines, retries and cancellation. */

import { setTimeout as sleep } from "node:timers/promises";

import { create, type DescMethod, fromBinary, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { connectivityState, Client as GrpcClient, type Metadata, type ServiceError } from "@grpc/grpc-js";

import { callMetadata, channelCredentials, channelOptions, type Priority, type Tls } from "./channel.js";
import { InternalError } from "./errors.js";
import { FaceAging, type OptimizeProgress, type OptimizeResult } from "./generated/dorian/v1/face_aging_pb.js";
import { Attempts } from "./retries.js";
import { errorFromRpc } from "./status.js";

const { method: RPC } = FaceAging;
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1; // what a timer of Node.js can wait

/** Settings of a client. */
export interface ClientOptions {
  /** How to encrypt the connection; `{}` trusts the public authorities. Without it the connection is unencrypted. */
  readonly tls?: Tls;
  /** The API key. Without TLS it is sent to this machine only. */
  readonly apiKey?: string;
  /** Whether to send the API key to other machines without TLS, where everybody on the way can read it. */
  readonly keyInClear?: boolean;
  /** Whether calls go before those of others, or give way to them. By default "interactive". */
  readonly priority?: Priority;
  /** How long a call may take, its retries included. By default 60,000 ms. */
  readonly timeoutMs?: number;
  /** How often a call is retried at most. By default 5. */
  readonly retries?: number;
}

/** Settings of one call. */
export interface CallOptions {
  /** How long the call may take, its retries included. By default the client's. */
  readonly timeoutMs?: number;
  /** Cancels the call, on the server too; the call then throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** The call's id in the server's log. */
  readonly requestId?: string;
}

/** What a latent search tells: its steps, and at last its result. */
export type SearchEvent =
  | { readonly case: "progress"; readonly value: OptimizeProgress }
  | { readonly case: "result"; readonly value: OptimizeResult };

type Init<Method extends DescMethod> = MessageInitShape<Method["input"]>;
type Response<Method extends DescMethod> = Promise<MessageShape<Method["output"]>>;

/**
 * A client of a Dorian server. It connects at the first call, and again when the connection is lost.
 *
 * Calls throw the classes of `ServerError`.
 *
 * @example
 * const client = new Client("faces.example:50051", { tls: {}, apiKey });
 * const { results } = await client.ageTransform({ image: { data: photo }, targets: [group("60+"), years(45)] });
 */
export class Client {
  readonly address: string;
  readonly #grpc: GrpcClient;
  readonly #metadata: Metadata;
  readonly #timeoutMs: number;
  readonly #retries: number;

  /**
   * @param address The server's host:port.
   * @throws TypeError for settings that no client can have, such as an API key for another machine without TLS.
   */
  constructor(address = "localhost:50051", options: ClientOptions = {}) {
    if (address === "") {
      throw new TypeError("the server's address is empty; give host:port");
    }
    this.address = address;
    this.#timeoutMs = checkTimeout(options.timeoutMs ?? 60_000);
    this.#retries = options.retries ?? 5;
    if (!Number.isInteger(this.#retries) || this.#retries < 0) {
      throw new TypeError(`retries cannot be ${options.retries}; give 0 for none, or more`);
    }
    this.#metadata = callMetadata(address, options);
    this.#grpc = new GrpcClient(address, channelCredentials(options.tls), channelOptions(address, options.tls));
  }

  /** Return the photo with its faces aged, once for each target. */
  ageTransform(request: Init<typeof RPC.ageTransform>, options?: CallOptions): Response<typeof RPC.ageTransform> {
    return this.#call(RPC.ageTransform, request, options);
  }

  /** Return where the faces of a photo are, and their estimated ages. */
  detect(request: Init<typeof RPC.detectFaces>, options?: CallOptions): Response<typeof RPC.detectFaces> {
    return this.#call(RPC.detectFaces, request, options);
  }

  /** Decide whether a face of one photo and a face of another are the same person's. */
  compare(request: Init<typeof RPC.compareFaces>, options?: CallOptions): Response<typeof RPC.compareFaces> {
    return this.#call(RPC.compareFaces, request, options);
  }

  /** Return each face's latent, and the image that the generator draws from it. */
  reconstruct(request: Init<typeof RPC.reconstruct>, options?: CallOptions): Response<typeof RPC.reconstruct> {
    return this.#call(RPC.reconstruct, request, options);
  }

  /** Return the photo with some styles of its faces exchanged for those of references. */
  mix(request: Init<typeof RPC.mixStyles>, options?: CallOptions): Response<typeof RPC.mixStyles> {
    return this.#call(RPC.mixStyles, request, options);
  }

  /** Return the methods of a bundle, with their age groups, filters, version and licence. */
  methods(request: Init<typeof RPC.listMethods> = {}, options?: CallOptions): Response<typeof RPC.listMethods> {
    return this.#call(RPC.listMethods, request, options);
  }

  /**
   * Search for the latent that draws one face best; yields the steps, and at last the result.
   *
   * Leaving the loop, like an aborted signal, ends the search on the server too.
   */
  async *optimize(request: Init<typeof RPC.optimize>, options?: CallOptions): AsyncGenerator<SearchEvent, void, void> {
    for await (const response of this.#responses(RPC.optimize, request, options)) {
      const event = response.kind;
      if (event.case !== undefined) {
        yield event;
      }
      if (event.case === "result") {
        return;
      }
    }
    throw new InternalError("the server ended the search without a result", { code: "INTERNAL" });
  }

  /** Close the connection; calls in progress fail. */
  close(): void {
    this.#grpc.close();
  }

  async #call<Method extends DescMethod>(method: Method, request: Init<Method>, options?: CallOptions): Response<Method> {
    let last: MessageShape<Method["output"]> | undefined;
    for await (const response of this.#responses(method, request, options)) {
      last = response;
    }
    if (last === undefined) {
      throw new InternalError("the server gave no response", { code: "INTERNAL" });
    }
    return last;
  }

  /** Yield the responses of a call; if it fails before the first, make it again where that may help. */
  async *#responses<Method extends DescMethod>(
    method: Method,
    request: Init<Method>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<Method["output"]>, void, void> {
    const { signal } = options;
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    const message = toBinary(method.input, create(method.input, request));
    const attempts = new Attempts(this.#retries, timeoutMs);
    for (let isAnswered = false; ; ) {
      signal?.throwIfAborted();
      try {
        for await (const response of this.#attempt(method, message, attempts.millisecondsLeft, options)) {
          isAnswered = true;
          yield response;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isServiceError(error)) {
          throw error;
        }
        const failure = errorFromRpc(error, this.address, timeoutMs, this.#isConnected());
        const delay = isAnswered ? undefined : attempts.delayAfter(failure);
        if (delay === undefined) {
          throw failure;
        }
        await sleep(delay, undefined, signal && { signal }).catch(() => signal?.throwIfAborted());
      }
    }
  }

  /** Make a call once, and yield its responses; a call that has one response is a stream of one. */
  async *#attempt<Method extends DescMethod>(
    method: Method,
    message: Uint8Array,
    timeoutMs: number,
    { signal, requestId }: CallOptions,
  ): AsyncGenerator<MessageShape<Method["output"]>, void, void> {
    const metadata = this.#metadata.clone();
    if (requestId !== undefined) {
      metadata.set("x-request-id", requestId);
    }
    const call = this.#grpc.makeServerStreamRequest(
      `/${method.parent.typeName}/${method.name}`,
      (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      message,
      metadata,
      { deadline: Date.now() + timeoutMs },
    );
    const cancel = () => call.cancel();
    call.on("error", () => undefined); // that of a call which was cancelled here, when nobody reads any more
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      yield* call as AsyncIterable<MessageShape<Method["output"]>>;
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
  }

  #isConnected(): boolean {
    return this.#grpc.getChannel().getConnectivityState(false) === connectivityState.READY;
  }
}

function checkTimeout(milliseconds: number): number {
  if (!(milliseconds > 0 && milliseconds <= LONGEST_TIMEOUT_MS)) {
    throw new TypeError(`a timeout cannot be ${milliseconds} ms; give more than 0, and ${LONGEST_TIMEOUT_MS} at most`);
  }
  return milliseconds;
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error;
}
