// What is published: kept until the server has answered, also over reconnects.

import type { Connection } from "./connection.js";
import { connectionLost, isUnanswered, notAnswered, notConnected, queueFull, type RejoinError } from "./errors.js";
import { randomId } from "./random.js";

/** What may wait for an answer. */
const WAITING_MESSAGES = 256;
const TIMEOUT_MS = 60_000;
/** The server knows a key for five minutes; what is sent again later could be published twice. */
const LONGEST_TIMEOUT_MS = 4 * 60_000;

export interface PublishOptions {
  /** Names the message: with the same key it is published once within five minutes. Drawn anew unless given. */
  key?: string;
  /** Milliseconds until it is given up; 60,000 unless given, and at most 240,000. */
  timeoutMs?: number;
}

interface Waiting {
  payload: { topic: string; data: unknown; key: string };
  timer: ReturnType<typeof setTimeout>;
  resolve: (position: string) => void;
  reject: (error: RejoinError) => void;
}

export class Publishing {
  readonly #connection: Connection;
  /** In the order in which they were published, which is that of sending again. */
  readonly #waiting = new Set<Waiting>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.on("open", () => {
      for (const message of this.#waiting) this.#send(message);
    });
    connection.on("state", ({ name }) => {
      if (name === "closed") for (const message of [...this.#waiting]) this.#fail(message, connectionLost());
    });
  }

  publish(topic: string, data: unknown, { key = randomId(), timeoutMs = TIMEOUT_MS }: PublishOptions): Promise<string> {
    if (this.#connection.state.name === "closed") return Promise.reject(notConnected());
    if (this.#waiting.size >= WAITING_MESSAGES) return Promise.reject(queueFull(WAITING_MESSAGES));
    // A copy: a key stands for one message, so a later try must not differ.
    const payload = { topic, data: JSON.parse(JSON.stringify(data ?? null)), key };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(message, notAnswered()), Math.min(timeoutMs, LONGEST_TIMEOUT_MS));
      const message: Waiting = { payload, timer, resolve, reject };
      this.#waiting.add(message);
      this.#send(message);
    });
  }

  #send(message: Waiting): void {
    if (this.#connection.state.name !== "connected") return;
    this.#connection.ask("publish", message.payload, (answer) => {
      if (answer.ok) {
        this.#forget(message);
        message.resolve((answer.payload as { position: string }).position);
      } else if (!isUnanswered(answer.error)) this.#fail(message, answer.error);
    });
  }

  #fail(message: Waiting, error: RejoinError): void {
    this.#forget(message);
    message.reject(error);
  }

  #forget(message: Waiting): void {
    clearTimeout(message.timer);
    this.#waiting.delete(message);
  }
}
