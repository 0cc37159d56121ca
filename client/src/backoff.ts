// How long to wait before the next attempt.

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** Exponential backoff with full jitter: many clients that were lost together do not return together. */
export class Backoff {
  #attempts = 0;

  /** The attempts since the last reset. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Milliseconds to wait before the next attempt, from 0 to a limit that doubles each time. */
  next(): number {
    const limit = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.floor(Math.random() * limit);
  }

  /** To be called when a connection proved stable, not when it was merely made. */
  reset(): void {
    this.#attempts = 0;
  }
}
