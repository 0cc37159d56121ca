// The delay before the next attempt to connect.

const FIRST_LIMIT_MS = 1_000;
const MAX_LIMIT_MS = 30_000;

/** Exponential backoff with full jitter, so that clients lost together reconnect apart. */
export class Backoff {
  #attempts = 0;

  /** Returns a random delay in milliseconds, below a limit that doubles with each call. */
  next(): number {
    const limit = Math.min(MAX_LIMIT_MS, FIRST_LIMIT_MS * 2 ** this.#attempts);
    this.#attempts += 1;

    return Math.floor(Math.random() * limit);
  }

  /** Restarts at the first limit. Call it once a connection has proved stable. */
  reset(): void {
    this.#attempts = 0;
  }
}
