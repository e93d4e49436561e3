/** Retries: of calls that a busy server rejected with a time to retry after, or that reached no server. */

import { Busy, ConnectionFailed, type ServerError } from "./errors.js";

const FIRST_DELAY_MS = 100; // doubled with each retry, where the server names no delay
const LONGEST_DELAY_MS = 5_000; // to which it is doubled
const JITTER = 0.2; // share of a delay that is added at most, so that calls rejected together are not retried together

/**
 * Return the milliseconds to wait before a call is retried; undefined if a retry does not help.
 *
 * After Busy the call waits as long as the server says, and is not retried if it says nothing. After ConnectionFailed it is
 * retried if it did not reach a server, or one that takes no calls now. Where the server names no delay, or none above 0, it is 100 ms, then 200 ms, and so on up to 5 s.
 *
 * @param error What the call ended with.
 * @param count How often it was retried before.
 * @param random Returns a number from 0 to 1, by which up to a fifth of the delay is added.
 */
export function delayBeforeRetry(error: ServerError, count: number, random: () => number = Math.random): number | undefined {
  const named = error instanceof Busy || error instanceof ConnectionFailed ? error.retryAfterMs : undefined;
  const isAway = error instanceof ConnectionFailed && error.code === "UNAVAILABLE";
  if (named === undefined && !isAway) {
    return undefined;
  }
  const own = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** count);
  return (named !== undefined && named > 0 ? named : own) * (1 + JITTER * random());
}

/** The attempts of one call: how long the next may take, and when it is due. */
export class Attempts {
  readonly #limit: number;
  readonly #deadline: number;
  #count = 0;

  /** Begin a call with so many retries at most, which share the timeout. */
  constructor(limit: number, timeoutMs: number) {
    this.#limit = limit;
    this.#deadline = performance.now() + timeoutMs;
  }

  /** How long the next attempt may take. */
  get millisecondsLeft(): number {
    return Math.max(0, this.#deadline - performance.now());
  }

  /** Return the milliseconds to wait before the call is retried, and count the retry; undefined if it is not retried. */
  delayAfter(error: ServerError): number | undefined {
    const delay = this.#count < this.#limit ? delayBeforeRetry(error, this.#count) : undefined;
    if (delay === undefined || delay >= this.millisecondsLeft) {
      return undefined;
    }
    this.#count += 1;
    return delay;
  }
}
