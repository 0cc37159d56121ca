// Notices a connection that is dead although nobody said so.

/** How long an answer to a ping may take. */
const ANSWER_MS = 10_000;
/** The same after a wake-up, when somebody is waiting. */
const PROBE_MS = 4_000;

export interface HeartbeatActions {
  ping: () => void;
  dead: () => void;
}

/** Pings when nothing came for two heartbeats, and gives up when that has no answer. */
export class Heartbeat {
  readonly #quietMs: number;
  readonly #actions: HeartbeatActions;
  #heardAt = Date.now();
  #asking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `heartbeatMs` is what the server said; 0 means that only probes ask. */
  constructor(heartbeatMs: number, actions: HeartbeatActions) {
    this.#quietMs = 2 * heartbeatMs;
    this.#actions = actions;
    this.#listen(this.#quietMs);
  }

  /** To be called for whatever comes in. */
  heard(): void {
    this.#heardAt = Date.now();
    if (this.#asking) this.#listen(this.#quietMs);
  }

  /** Asks now: after a sleep or a change of network a socket may be dead and look alive. */
  probe(): void {
    this.#ask(PROBE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #listen(ms: number): void {
    clearTimeout(this.#timer);
    this.#asking = false;
    if (this.#quietMs === 0) return;
    this.#timer = setTimeout(() => {
      const quiet = Date.now() - this.#heardAt;
      if (quiet < this.#quietMs) this.#listen(this.#quietMs - quiet);
      else this.#ask(ANSWER_MS);
    }, ms);
  }

  #ask(answerMs: number): void {
    clearTimeout(this.#timer);
    this.#asking = true;
    this.#timer = setTimeout(this.#actions.dead, answerMs);
    this.#actions.ping();
  }
}
