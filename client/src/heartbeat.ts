// Detection of dead connections that report no error.

/** The time limit for the reply to a ping. */
const PING_TIMEOUT_MS = 10_000;
/** The same for a probe after a wake-up, when a user is waiting. */
const PROBE_TIMEOUT_MS = 4_000;

export interface HeartbeatActions {
  ping: () => void;
  /** Called when a ping has no reply in time. */
  dead: () => void;
}

/** A timer that pings after two silent heartbeats and reports a dead connection. */
export class Heartbeat {
  readonly #silenceMs: number;
  readonly #actions: HeartbeatActions;
  #receivedAt = Date.now();
  #pinging = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Starts to watch. `heartbeatMs` is the server's interval; at 0 only probes ping. */
  constructor(heartbeatMs: number, actions: HeartbeatActions) {
    this.#silenceMs = 2 * heartbeatMs;
    this.#actions = actions;
    this.#watch(this.#silenceMs);
  }

  /** Records incoming data. Call it for each message. */
  received(): void {
    this.#receivedAt = Date.now();
    // Any message proves that the connection is alive, not only the pong.
    if (this.#pinging) this.#watch(this.#silenceMs);
  }

  /** Pings now: after a sleep or a network change, a dead socket still looks open. */
  probe(): void {
    this.#ping(PROBE_TIMEOUT_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #watch(ms: number): void {
    clearTimeout(this.#timer);
    this.#pinging = false;
    if (this.#silenceMs === 0) return;

    // Messages only record their time; the timer is rearmed when it fires, not per message.
    this.#timer = setTimeout(() => {
      const silence = Date.now() - this.#receivedAt;
      if (silence < this.#silenceMs) this.#watch(this.#silenceMs - silence);
      else this.#ping(PING_TIMEOUT_MS);
    }, ms);
  }

  #ping(timeoutMs: number): void {
    clearTimeout(this.#timer);
    this.#pinging = true;
    this.#timer = setTimeout(this.#actions.dead, timeoutMs);
    this.#actions.ping();
  }
}
