// The time of the next attempt to connect.

import { Backoff } from "./backoff.js";
import type { Closing } from "./messages.js";

/** A connection that lasts this long counts as stable and resets the backoff. */
const STABLE_MS = 10_000;

/** A timer for reconnects that respects the backoff and the server's announced delay. */
export class ReconnectTimer {
  readonly #backoff = new Backoff();
  readonly #connect: () => void;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stable: ReturnType<typeof setTimeout> | undefined;
  /** The earliest retry that the server allows, in milliseconds since the epoch. */
  #notBefore = 0;

  constructor(connect: () => void) {
    this.#connect = connect;
  }

  /** True if the server's announced delay has passed. */
  get mayRetry(): boolean {
    return Date.now() >= this.#notBefore;
  }

  /** Restarts the backoff. */
  reset(): void {
    this.#backoff.reset();
  }

  /** Starts to measure whether the new connection is stable. */
  connected(): void {
    this.#stable = setTimeout(() => this.#backoff.reset(), STABLE_MS);
  }

  /** Schedules the next attempt. Returns the delay in milliseconds. */
  schedule(closing: Closing | null): number {
    let delay = this.#backoff.next();
    this.#notBefore = 0;

    if (closing?.reconnect_after_ms !== undefined) {
      const jitter = Math.floor(Math.random() * (closing.window_ms ?? 0));
      const requested = closing.reconnect_after_ms + jitter;
      this.#notBefore = Date.now() + requested;
      // The maximum of both: a server that closes at once and announces no delay would otherwise
      // be retried in a tight loop.
      delay = Math.max(delay, requested);
    }

    this.#retry = setTimeout(this.#connect, delay);
    return delay;
  }

  /** Cancels the scheduled attempt. */
  cancel(): void {
    clearTimeout(this.#retry);
  }

  /** Cancels all timers. Keeps the backoff. */
  stop(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
  }
}
