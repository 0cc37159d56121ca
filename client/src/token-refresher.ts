// Replacement of a token before it expires.

import { Backoff } from "./backoff.js";
import { RejoinError } from "./errors.js";

export interface RefreshActions {
  /** Obtains a new token and sends it to the server. */
  refresh: () => Promise<unknown>;
  /** Called for each failed attempt. */
  failed: (error: unknown) => void;
}

/** A task that refreshes the token and retries after temporary errors. */
export class TokenRefresher {
  readonly #actions: RefreshActions;
  readonly #backoff = new Backoff();
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Identifies the current run, so that results of an earlier connection are ignored. */
  #run = 0;

  constructor(actions: RefreshActions) {
    this.#actions = actions;
  }

  /** Starts a refresh and cancels the previous one. */
  start(): void {
    this.stop();
    this.#backoff.reset();
    void this.#attempt(this.#run);
  }

  stop(): void {
    this.#run += 1;
    clearTimeout(this.#retry);
  }

  async #attempt(run: number): Promise<void> {
    try {
      await this.#actions.refresh();
    } catch (error) {
      if (run !== this.#run) return;

      this.#actions.failed(error);

      // Errors of the token provider, such as a failed fetch, are temporary too.
      const isTemporary = !(error instanceof RejoinError) || error.retryable;
      if (isTemporary) {
        this.#retry = setTimeout(() => void this.#attempt(run), this.#backoff.next());
      }
    }
  }
}
