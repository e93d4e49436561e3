/** A server on a free port of this machine that does as a test says. */

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials, type ServerWritableStream, status, type StatusObject } from "@grpc/grpc-js";

import {
  type ListMethodsRequest,
  ListMethodsRequestSchema,
  ListMethodsResponseSchema,
  OptimizeRequestSchema,
  OptimizeResponseSchema,
} from "../src/generated/dorian/v1/face_aging_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "../src/generated/google/rpc/failure_pb.js";

export type Call = ServerWritableStream<unknown, MessageInitShape<typeof OptimizeResponseSchema> & MessageInitShape<typeof ListMethodsResponseSchema>>;
/** Answers a call: by a failure, by writing to the call, or not at all. */
export type Answer = (call: Call) => StatusObject | undefined | void;

/** A failure with details, as Dorian's server has them. */
export function failure(
  code: status,
  reason: string,
  { retryAfterMs, field, domain = "dorian.v1" }: { retryAfterMs?: number; field?: string; domain?: string } = {},
): StatusObject {
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain, metadata: { limit: "4" } }))];
  if (field !== undefined) {
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [{ field, description: "" }] })));
  }
  if (retryAfterMs !== undefined) {
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) })));
  }
  const metadata = new Metadata();
  const packed = toBinary(StatusSchema, create(StatusSchema, { code, message: reason, details }));
  metadata.set("grpc-status-details-bin", Buffer.from(packed));
  return { code, details: `because of ${reason}`, metadata };
}

/** Answers with a list of methods. */
export const methods: Answer = (call) => {
  call.write({ serverVersion: "fake" });
  call.end();
};

/** Does not answer. */
export const silence: Answer = () => undefined;

export class FakeServer {
  /** The calls so far. */
  readonly calls: Call[] = [];
  /** The requests of ListMethods so far. */
  readonly requests: ListMethodsRequest[] = [];
  address = "";
  readonly #server = new Server();
  readonly #answers: Answer[];

  /** @param answers What the calls are answered with, in their order; the last answers all that follow. */
  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  /** Start to listen on a port. */
  async start(port = 0): Promise<this> {
    const answer = (call: Call) => {
      const next = this.#answers[Math.min(this.calls.length, this.#answers.length - 1)];
      this.calls.push(call);
      const failed = next?.(call);
      if (failed) {
        call.emit("error", failed);
      }
    };
    this.#server.addService(
      {
        ListMethods: {
          path: "/dorian.v1.FaceAging/ListMethods",
          requestStream: false,
          responseStream: true,
          requestSerialize: Buffer.from,
          requestDeserialize: (bytes: Buffer) => this.requests.push(fromBinary(ListMethodsRequestSchema, bytes)),
          responseSerialize: (message) => Buffer.from(toBinary(ListMethodsResponseSchema, create(ListMethodsResponseSchema, message))),
          responseDeserialize: (bytes: Buffer) => bytes,
        },
        Optimize: {
          path: "/dorian.v1.FaceAging/Optimize",
          requestStream: false,
          responseStream: true,
          requestSerialize: Buffer.from,
          requestDeserialize: (bytes: Buffer) => fromBinary(OptimizeRequestSchema, bytes),
          responseSerialize: (message) => Buffer.from(toBinary(OptimizeResponseSchema, create(OptimizeResponseSchema, message))),
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      },
      { ListMethods: answer, Optimize: answer },
    );
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, number) => {
        error ? reject(error) : resolve(number);
      });
    });
    this.address = `127.0.0.1:${bound}`;
    return this;
  }

  /** Stop at once. */
  stop(): void {
    this.#server.forceShutdown();
  }
}
