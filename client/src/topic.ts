// A topic that this program follows, over any number of connections.

import { Backoff } from "./backoff.js";
import type { Connection } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import type { ServerMessage, Subscribed, TopicGap, TopicMessage } from "./messages.js";
import type { PublishOptions } from "./publishing.js";

export interface TopicEvents {
  /** Following; the verdict says whether anything was missed. */
  subscribed: Subscribed;
  message: TopicMessage;
  /** Messages are gone: because nobody could keep them, or because this reader was slow. */
  gap: TopicGap;
  /** The server refuses; it is not asked again on this connection. */
  failed: RejoinError;
}

export class Topic {
  readonly name: string;
  readonly #connection: Connection;
  readonly #emitter = new Emitter<TopicEvents>();
  readonly #backoff = new Backoff();
  readonly #unsubscribe: Unsubscribe[];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #position: string | null;
  #left = false;

  /** Begins to follow the topic: at once, and after each reconnect; from `position`, if given. */
  constructor(connection: Connection, name: string, position: string | null = null) {
    this.#connection = connection;
    this.name = name;
    this.#position = position;
    this.#unsubscribe = [
      connection.on("open", () => this.#subscribe()),
      connection.on("message", (message) => this.#receive(message)),
    ];
    // Not within the constructor: nobody could listen to the events yet.
    if (connection.state.name === "connected") queueMicrotask(() => this.#subscribe());
  }

  on<Name extends keyof TopicEvents>(name: Name, listener: (value: TopicEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Where to resume, to be kept by a program that wants to go on after its own restart. */
  get position(): string | null {
    return this.#position;
  }

  /** Publishes, and says at which position; as `Connection.publish` does. */
  publish(data: unknown, options?: PublishOptions): Promise<string> {
    return this.#connection.publish(this.name, data, options);
  }

  /** Stops following. */
  unsubscribe(): void {
    this.#left = true;
    clearTimeout(this.#retry);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#connection.ask("unsubscribe", { topic: this.name }, () => {});
  }

  #subscribe(): void {
    if (this.#left) return;
    clearTimeout(this.#retry);
    const payload = { topic: this.name, ...(this.#position !== null && { position: this.#position }) };
    this.#connection.ask("subscribe", payload, (answer) => {
      if (this.#left) return;
      if (answer.ok) this.#follow(answer.payload as Subscribed);
      else if (this.#connection.state.name !== "connected") return;
      else if (answer.error.retryable) {
        this.#retry = setTimeout(() => this.#subscribe(), this.#backoff.next());
      } else this.#emitter.emit("failed", answer.error);
    });
  }

  #follow(subscribed: Subscribed): void {
    this.#backoff.reset();
    // When resumed, the missed messages follow, and each brings its own position.
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
