// What a request can fail with.

import type { ErrorCode } from "./codes.js";
import type { ErrorPayload } from "./messages.js";

/** A refusal by the server, or the loss of the connection while its answer was awaited. */
export class RejoinError extends Error {
  /** A code of the table, or `not_connected` / `connection_lost` where the server was not heard. */
  readonly code: ErrorCode | "not_connected" | "connection_lost" | (string & {});
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(payload: ErrorPayload) {
    super(payload.message);
    this.name = "RejoinError";
    this.code = payload.code;
    this.retryable = payload.retryable;
  }
}

export function notConnected(): RejoinError {
  return new RejoinError({
    code: "not_connected",
    message: "There is no connection to the server.",
    retryable: true,
  });
}

export function connectionLost(): RejoinError {
  return new RejoinError({
    code: "connection_lost",
    message: "The connection was lost before the server answered.",
    retryable: true,
  });
}
