// Errors of requests.

import type { ErrorCode } from "./codes.js";
import type { ErrorPayload } from "./messages.js";

/** Codes of errors that the client itself raises. */
export type LocalErrorCode =
  | "not_connected"
  | "connection_lost"
  | "not_answered"
  | "queue_full"
  | "no_newer_token";

/** An error sent by the server, or raised here because no reply arrived. */
export class RejoinError extends Error {
  /** A code of `ERROR_CODES`, a code of a newer server, or a `LocalErrorCode`. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** True if the same request may succeed later. */
  readonly retryable: boolean;

  constructor(payload: ErrorPayload) {
    super(payload.message);
    this.name = "RejoinError";
    this.code = payload.code;
    this.retryable = payload.retryable;
  }
}

/** Returns `true` if a request failed for lack of a connection, so the next one may repeat it. */
export function isConnectionError({ code }: RejoinError): boolean {
  return code === "connection_lost" || code === "not_connected";
}

/** Returns the error for a request made without a connection. */
export function notConnected(): RejoinError {
  return localError("not_connected", "There is no connection to the server.");
}

/** Returns the error for a request whose connection ended before the reply. */
export function connectionLost(): RejoinError {
  return localError("connection_lost", "The connection was lost before the server replied.");
}

/** Returns the error for a publish that timed out. */
export function notAnswered(): RejoinError {
  return localError(
    "not_answered",
    "The server did not reply in time. The message may have been published.",
  );
}

/** Returns the error for a publish that exceeds the limit of pending messages. */
export function queueFull(pending: number): RejoinError {
  return localError("queue_full", `${pending} messages are already waiting to be acknowledged.`);
}

/** Returns the error for a refresh without a new token. */
export function noNewerToken(): RejoinError {
  return localError("no_newer_token", "There is no newer token.", false);
}

function localError(code: LocalErrorCode, message: string, retryable = true): RejoinError {
  return new RejoinError({ code, message, retryable });
}
