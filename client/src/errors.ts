// What a request can fail with.

import type { ErrorCode } from "./codes.js";
import type { ErrorPayload } from "./messages.js";

/** What is found out here, where the server was not heard. */
export type LocalErrorCode = "not_connected" | "connection_lost" | "not_answered" | "queue_full" | "no_newer_token";

/** A refusal by the server, or the loss of the connection while its answer was awaited. */
export class RejoinError extends Error {
  /** A code of the table, one that a newer server knows, or one of this side. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(payload: ErrorPayload) {
    super(payload.message);
    this.name = "RejoinError";
    this.code = payload.code;
    this.retryable = payload.retryable;
  }
}

/** Whether a request was not answered because there is no connection: it can be asked again on the next. */
export function isUnanswered({ code }: RejoinError): boolean {
  return code === "connection_lost" || code === "not_connected";
}

export function notConnected(): RejoinError {
  return local("not_connected", "There is no connection to the server.");
}

export function connectionLost(): RejoinError {
  return local("connection_lost", "The connection was lost before the server answered.");
}

export function notAnswered(): RejoinError {
  return local("not_answered", "The server did not answer in time; it may have been published.");
}

export function queueFull(waiting: number): RejoinError {
  return local("queue_full", `${waiting} messages wait for the server's answer already.`);
}

export function noNewerToken(): RejoinError {
  return local("no_newer_token", "There is no newer token.", false);
}

function local(code: LocalErrorCode, message: string, retryable = true): RejoinError {
  return new RejoinError({ code, message, retryable });
}
