// Published messages that wait for the server's acknowledgement, even across reconnects.

import {
  connectionLost,
  isConnectionError,
  notAnswered,
  notConnected,
  queueFull,
  type RejoinError,
} from "./errors.js";
import { randomId } from "./random-id.js";
import type { Requester } from "./requester.js";

const MAX_PENDING_MESSAGES = 256;
const DEFAULT_TIMEOUT_MS = 60_000;
/** The server remembers a key for five minutes. A later resend could publish the message twice. */
const MAX_TIMEOUT_MS = 4 * 60_000;

export interface PublishOptions {
  /** The idempotency key: the server publishes a key once within five minutes. Default: random. */
  key?: string;
  /** The time limit in milliseconds. Default: 60,000; at most 240,000. */
  timeoutMs?: number;
}

interface PendingMessage {
  payload: { topic: string; data: unknown; key: string };
  timer: ReturnType<typeof setTimeout>;
  resolve: (position: string) => void;
  reject: (error: RejoinError) => void;
}

/** A queue that sends each message until the server acknowledges it. */
export class PublishQueue {
  readonly #connection: Requester;
  /** In the order of their publication, which is also the order of resends. */
  readonly #pending = new Set<PendingMessage>();

  constructor(connection: Requester) {
    this.#connection = connection;
    connection.on("open", () => {
      for (const message of this.#pending) this.#send(message);
    });
    connection.on("state", ({ name }) => {
      if (name !== "closed") return;

      // A copy: failing a message removes it.
      for (const message of [...this.#pending]) this.#fail(message, connectionLost());
    });
  }

  /** Publishes a message. Returns its position; rejects with a `RejoinError`. */
  publish(topic: string, data: unknown, options: PublishOptions): Promise<string> {
    if (this.#connection.state.name === "closed") return Promise.reject(notConnected());
    if (this.#pending.size >= MAX_PENDING_MESSAGES) {
      return Promise.reject(queueFull(MAX_PENDING_MESSAGES));
    }

    const { key = randomId(), timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    // A copy: a resend must equal the first attempt, because both carry the same key.
    const payload = { topic, data: JSON.parse(JSON.stringify(data ?? null)), key };

    return new Promise((resolve, reject) => {
      const timeout = Math.min(timeoutMs, MAX_TIMEOUT_MS);
      const timer = setTimeout(() => this.#fail(message, notAnswered()), timeout);
      const message: PendingMessage = { payload, timer, resolve, reject };
      this.#pending.add(message);
      this.#send(message);
    });
  }

  #send(message: PendingMessage): void {
    // The `open` event sends it.
    if (this.#connection.state.name !== "connected") return;

    this.#connection.sendRequest("publish", message.payload, (reply) => {
      if (reply.ok) {
        this.#remove(message);
        message.resolve((reply.payload as { position: string }).position);
      } else if (!isConnectionError(reply.error)) this.#fail(message, reply.error);
    });
  }

  #fail(message: PendingMessage, error: RejoinError): void {
    this.#remove(message);
    message.reject(error);
  }

  #remove(message: PendingMessage): void {
    clearTimeout(message.timer);
    this.#pending.delete(message);
  }
}
