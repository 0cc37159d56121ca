// The part of a connection that its features use, so that they do not import the connection.

import type { Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import type { ConnectionEvents, ConnectionState } from "./events.js";

/** The outcome of a request: the server's reply or an error. */
export type Reply =
  | { ok: true; type: string; payload: unknown }
  | { ok: false; error: RejoinError };

export type ReplyListener = (reply: Reply) => void;

/** A connection as seen by code that sends requests over it. */
export interface Requester {
  readonly state: ConnectionState;

  /** Calls `listener` for each event. Returns a function that removes it. */
  on<Name extends keyof ConnectionEvents>(
    name: Name,
    listener: (value: ConnectionEvents[Name]) => void,
  ): Unsubscribe;

  /** Sends a request and calls `listener` exactly once, even if the connection is lost. */
  sendRequest(type: string, payload: unknown, listener: ReplyListener): void;
}
