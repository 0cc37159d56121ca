// Requests of one connection that have no reply yet.

import { connectionLost, RejoinError } from "./errors.js";
import type { Envelope, ErrorPayload } from "./messages.js";
import type { ReplyListener } from "./requester.js";

/** The listeners of pending requests, by request id. */
export class PendingReplies {
  readonly #listeners = new Map<string, ReplyListener>();
  #lastId = 0;

  /** Registers a listener. Returns the id for its request; ids are never reused. */
  add(listener: ReplyListener): string {
    const id = String(++this.#lastId);
    this.#listeners.set(id, listener);
    return id;
  }

  /** Passes a reply to its listener. Ignores replies to unknown requests. */
  deliver(id: string, { type, payload }: Envelope): void {
    const listener = this.#listeners.get(id);
    this.#listeners.delete(id);

    if (type !== "error") listener?.({ ok: true, type, payload });
    else listener?.({ ok: false, error: new RejoinError(payload as ErrorPayload) });
  }

  /** Fails all pending requests with `connection_lost`. */
  failAll(): void {
    const listeners = [...this.#listeners.values()];
    // Cleared first: a listener may send its request again.
    this.#listeners.clear();
    for (const listener of listeners) listener({ ok: false, error: connectionLost() });
  }
}
