// A topic that a program follows across reconnects.

import { Backoff } from "./backoff.js";
import type { Connection } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import type { ServerMessage, Subscribed, TopicGap, TopicMessage } from "./messages.js";
import type { PublishOptions } from "./publish-queue.js";

export interface TopicEvents {
  /** Subscribed. The verdict says whether messages are lost. */
  subscribed: Subscribed;
  message: TopicMessage;
  /** Messages are lost: retention dropped them, or this reader was too slow. */
  gap: TopicGap;
  /** The server refused. The next attempt is on the next connection. */
  failed: RejoinError;
}

/** A subscription to a topic, renewed after each reconnect. */
export class Topic {
  readonly name: string;
  readonly #connection: Connection;
  readonly #emitter = new Emitter<TopicEvents>();
  readonly #backoff = new Backoff();
  readonly #unsubscribe: Unsubscribe[];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #position: string | null;
  #ended = false;

  /** Subscribes, after `position` if one is given. */
  constructor(connection: Connection, name: string, position: string | null = null) {
    this.#connection = connection;
    this.name = name;
    this.#position = position;
    this.#unsubscribe = [
      connection.on("open", () => this.#subscribe()),
      connection.on("message", (message) => this.#receive(message)),
    ];

    // Deferred, so that the caller can add its listeners first.
    if (connection.state.name === "connected") queueMicrotask(() => this.#subscribe());
  }

  /** Calls `listener` for each event. Returns a function that removes it. */
  on<Name extends keyof TopicEvents>(
    name: Name,
    listener: (value: TopicEvents[Name]) => void,
  ): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** The position to resume at. Store it to continue after a restart of the program. */
  get position(): string | null {
    return this.#position;
  }

  /** Publishes a message, like `Connection.publish`. Returns its position. */
  publish(data: unknown, options?: PublishOptions): Promise<string> {
    return this.#connection.publish(this.name, data, options);
  }

  unsubscribe(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#connection.sendRequest("unsubscribe", { topic: this.name }, () => {});
  }

  #subscribe(): void {
    if (this.#ended) return;

    clearTimeout(this.#retry);
    const position = this.#position !== null && { position: this.#position };

    this.#connection.sendRequest("subscribe", { topic: this.name, ...position }, (reply) => {
      if (this.#ended) return;

      if (reply.ok) {
        this.#start(reply.payload as Subscribed);
        return;
      }

      // The next connection subscribes again.
      if (this.#connection.state.name !== "connected") return;
      if (reply.error.retryable) {
        this.#retry = setTimeout(() => this.#subscribe(), this.#backoff.next());
      } else this.#emitter.emit("failed", reply.error);
    });
  }

  #start(subscribed: Subscribed): void {
    this.#backoff.reset();
    // After a resume, the replay follows, and each message carries its own position.
    if (subscribed.verdict !== "resumed") this.#position = subscribed.position;

    this.#emitter.emit("subscribed", subscribed);
    if (subscribed.verdict !== "gap") return;

    const { topic, missed = null, reason = "", position } = subscribed;
    this.#emitter.emit("gap", { topic, missed, reason, position });
  }

  #receive(message: ServerMessage): void {
    if (message.type !== "message" && message.type !== "gap") return;
    if (message.payload.topic !== this.name) return;

    this.#position = message.payload.position ?? this.#position;
    if (message.type === "message") this.#emitter.emit("message", message.payload);
    else this.#emitter.emit("gap", message.payload);
  }
}
