/** From gRPC's errors to this package's: the one table of classes, and the details that a status carries. */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type ServiceError, status } from "@grpc/grpc-js";

import {
  Busy,
  ConnectionFailed,
  DeadlineExceeded,
  type Failure,
  InternalError,
  InvalidRequest,
  NoFaceError,
  NotFound,
  PermissionDenied,
  ServerError,
  Unauthenticated,
} from "./errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "./generated/google/rpc/failure_pb.js";

const DOMAIN = "dorian.v1"; // of the error info that the contract describes

// Other codes become a plain ServerError.
const CLASSES: Partial<Record<status, typeof ServerError>> = {
  [status.INVALID_ARGUMENT]: InvalidRequest,
  [status.NOT_FOUND]: NotFound,
  [status.UNAUTHENTICATED]: Unauthenticated,
  [status.PERMISSION_DENIED]: PermissionDenied,
  [status.RESOURCE_EXHAUSTED]: Busy,
  [status.DEADLINE_EXCEEDED]: DeadlineExceeded,
  [status.UNAVAILABLE]: ConnectionFailed,
  [status.INTERNAL]: InternalError,
};

// Part of gRPC's own messages about one that exceeds a size limit. The code is RESOURCE_EXHAUSTED or INTERNAL, but it is the request's fault.
const TOO_LARGE = /message .*larger than/;

/**
 * Return the error to throw for a failed call.
 * @param error gRPC's error.
 * @param address The server's address, for messages.
 * @param timeoutMs The call's timeout, for messages.
 * @param isConnected Tells a slow server from a missing one after the deadline has passed.
 */
export function errorFromRpc(error: ServiceError, address: string, timeoutMs: number, isConnected: boolean): ServerError {
  const details = readDetails(error);
  const code = status[error.code] ?? "UNKNOWN";
  let kind = details.reason === "NO_FACE" ? NoFaceError : (CLASSES[error.code] ?? ServerError);
  let message = error.details || "the server gave no details";
  const isFromServer = details.reason !== undefined; // otherwise gRPC wrote the message
  if (!isFromServer && TOO_LARGE.test(message)) {
    kind = InvalidRequest;
    message = `send a smaller photo or ask for fewer ages at once: ${message}`;
  } else if (kind === DeadlineExceeded && !isFromServer) {
    kind = isConnected ? DeadlineExceeded : ConnectionFailed;
    message = `no answer from the server at ${address} within ${timeoutMs / 1000} s`;
  } else if (kind === ConnectionFailed) {
    message = `${isFromServer ? `the server at ${address} takes no calls` : `cannot reach a server at ${address}`}: ${message}`;
  } else if (kind === ServerError) {
    message = `the server at ${address} failed: ${message} (${code})`;
  }
  return new kind(message, { code, ...details }, { cause: error });
}

function readDetails(error: ServiceError): Omit<Failure, "code"> {
  const found: { -readonly [name in keyof Failure]?: Failure[name] } = {};
  const packed = error.metadata?.get("grpc-status-details-bin")[0];
  if (!(packed instanceof Uint8Array)) {
    return found;
  }
  for (const detail of readStatus(packed)) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    const violation = anyUnpack(detail, BadRequestSchema)?.fieldViolations[0];
    const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
    if (info?.domain === DOMAIN) {
      found.reason = info.reason;
      found.metadata = info.metadata;
    } else if (violation !== undefined) {
      found.field = violation.field;
    } else if (delay !== undefined) {
      found.retryAfterMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    }
  }
  return found;
}

function readStatus(packed: Uint8Array) {
  try {
    return fromBinary(StatusSchema, packed).details;
  } catch {
    return []; // something on the way wrote it; the plain status counts alone
  }
}
