// Shows the server a new token before the old one ends.

import { Backoff } from "./backoff.js";
import { RejoinError } from "./errors.js";

export interface RefreshActions {
  /** Asks for a token and shows it to the server. */
  refresh: () => Promise<unknown>;
  /** There was none, or it was refused. */
  failed: (error: unknown) => void;
}

/** Refreshes when it is told that the token ends; what failed for a passing reason is tried again. */
export class Refresher {
  readonly #actions: RefreshActions;
  readonly #backoff = new Backoff();
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Counts what was begun: a try of an earlier connection is not for us. */
  #attempt = 0;

  constructor(actions: RefreshActions) {
    this.#actions = actions;
  }

  begin(): void {
    this.stop();
    this.#backoff.reset();
    void this.#try(this.#attempt);
  }

  stop(): void {
    this.#attempt += 1;
    clearTimeout(this.#retry);
  }

  async #try(attempt: number): Promise<void> {
    try {
      await this.#actions.refresh();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#actions.failed(error);
      const passing = !(error instanceof RejoinError) || error.retryable;
      if (passing) this.#retry = setTimeout(() => void this.#try(attempt), this.#backoff.next());
    }
  }
}
