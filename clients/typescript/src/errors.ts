/**
 * The errors of calls, by class:
 *
 *     ServerError            a call failed; has code, reason, field, metadata, retryAfterMs
 *     ├── InvalidRequest     the photo, a face of it or an option was rejected; a retry fails in the same way
 *     │   └── NoFaceError    the photo has no face
 *     ├── NotFound           the server does not know a name, such as a method's or a bundle's
 *     ├── Unauthenticated    the API key is missing or unknown
 *     ├── PermissionDenied   the API key does not allow the call
 *     ├── Busy               the server is overloaded, or the API key's quota is used up; a later retry may work
 *     ├── DeadlineExceeded   no response in time
 *     ├── ConnectionFailed   no server at the address, or one that takes no calls
 *     └── InternalError      a fault of the server
 */

/** Why a server rejects a call, or a face of it. A newer server may send others. */
export type Reason =
  | "IMAGE_EMPTY"
  | "IMAGE_UNREADABLE"
  | "IMAGE_TOO_SMALL"
  | "IMAGE_TOO_LARGE"
  | "IMAGE_BYTES_EXCEEDED"
  | "NO_FACE"
  | "FACE_NOT_FOUND"
  | "FACE_UNUSABLE"
  | "FACE_TOO_MANY"
  | "TARGET_MISSING"
  | "TARGET_TOO_MANY"
  | "TARGET_UNSUITABLE"
  | "AGE_OUT_OF_RANGE"
  | "AGE_GROUP_UNKNOWN"
  | "FILTER_UNKNOWN"
  | "SETTING_OUT_OF_RANGE"
  | "METHOD_UNSUITABLE"
  | "LATENT_UNSUITABLE"
  | "REFERENCE_MISSING"
  | "REFERENCE_TOO_MANY"
  | "PRESET_UNKNOWN"
  | "LEVELS_UNSUITABLE"
  | "METHOD_UNKNOWN"
  | "METHOD_WITHHELD"
  | "BUNDLE_UNKNOWN"
  | "API_KEY_MISSING"
  | "API_KEY_UNKNOWN"
  | "SCOPE_MISSING"
  | "QUEUE_FULL"
  | "CALLS_AT_ONCE"
  | "CALLS_PER_MINUTE"
  | "DEADLINE_TOO_SHORT"
  | "NOT_READY"
  | "STOPPING"
  | "INTERNAL";

/** What a server tells of a failure. */
export interface Failure {
  /** Name of the gRPC status, such as "INVALID_ARGUMENT". */
  readonly code: string;
  /** The server's reason; undefined if it gave none. */
  readonly reason?: Reason | (string & {}) | undefined;
  /** The field of the request at fault, such as "targets[1]"; undefined if the server named none. */
  readonly field?: string | undefined;
  /** Further details from the server, by name. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Milliseconds after which the server suggests a retry; undefined if it does not. */
  readonly retryAfterMs?: number | undefined;
}

/** A call failed. gRPC's own error is the `cause`. */
export class ServerError extends Error implements Failure {
  readonly code: string;
  readonly reason: Reason | (string & {}) | undefined;
  readonly field: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, failure: Failure, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = failure.code;
    this.reason = failure.reason;
    this.field = failure.field;
    this.metadata = failure.metadata ?? {};
    this.retryAfterMs = failure.retryAfterMs;
  }
}

/** The photo, a face of it or an option was rejected; a retry fails in the same way. */
export class InvalidRequest extends ServerError {}

/** The photo has no face. */
export class NoFaceError extends InvalidRequest {}

/** The server does not know a name, such as a method's or a bundle's. */
export class NotFound extends ServerError {}

/** The API key is missing or unknown. */
export class Unauthenticated extends ServerError {}

/** The API key does not allow the call; the message names the scope that it lacks. */
export class PermissionDenied extends ServerError {}

/** The server is overloaded, or the API key's quota is used up. The client has retried already, as its settings allow. */
export class Busy extends ServerError {}

/** No response in time; or the server saw at once that there would be none, and did nothing. */
export class DeadlineExceeded extends ServerError {}

/** No server at the address, or one that takes no calls. */
export class ConnectionFailed extends ServerError {}

/** A fault of the server. */
export class InternalError extends ServerError {}
