// Who is there: followed over any number of connections, and folded into a list.

import { Backoff } from "./backoff.js";
import type { Connection } from "./connection.js";
import type { Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import type { Present, PresenceChange, PresenceState, ServerMessage, Subject } from "./messages.js";

/** Who is there now. */
export interface Presence {
  users: number;
  connections: number;
  /** Each device that is there, by user. */
  members: readonly Present[];
  /** Whether there are more than are listed. */
  truncated: boolean;
}

export interface PresenceListeners {
  /** Called at first, after each change, and after each reconnect. */
  changed: (presence: Presence) => void;
  /** The server refuses; it is not asked again on this connection. */
  failed: (error: RejoinError) => void;
}

export class PresenceFollows {
  readonly #connection: Connection;
  readonly #follows = new Map<string, Follow>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.on("open", () => {
      for (const follow of this.#follows.values()) follow.ask();
    });
    connection.on("message", (message) => this.#hear(message));
  }

  follow(subject: Subject, listeners: PresenceListeners): Unsubscribe {
    const key = keyOf(subject);
    const known = this.#follows.get(key);
    const follow = known ?? new Follow(this.#connection, subject);
    this.#follows.set(key, follow);
    // The same listener may follow twice.
    const entry = { ...listeners };
    follow.listeners.add(entry);
    if (known === undefined) follow.ask();
    else if (known.presence !== null) queueMicrotask(() => follow.greet(entry));
    return () => {
      follow.listeners.delete(entry);
      if (follow.listeners.size > 0 || this.#follows.get(key) !== follow) return;
      this.#follows.delete(key);
      follow.stop();
    };
  }

  #hear(message: ServerMessage): void {
    if (message.type === "presence") this.#follows.get(keyOf(message.payload))?.hear(message.payload);
  }
}

/** One subject, whoever listens to it here. */
class Follow {
  readonly listeners = new Set<PresenceListeners>();
  readonly #connection: Connection;
  readonly #subject: Subject;
  readonly #backoff = new Backoff();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  /** Null until the first answer. */
  presence: Presence | null = null;

  constructor(connection: Connection, subject: Subject) {
    this.#connection = connection;
    this.#subject = subject;
  }

  ask(): void {
    clearTimeout(this.#retry);
    this.#connection.ask("presence", { ...this.#subject, follow: true }, (answer) => {
      if (this.#stopped) return;
      if (answer.ok) {
        this.#backoff.reset();
        this.hear(answer.payload as PresenceState);
      } else if (this.#connection.state.name !== "connected") return;
      else if (answer.error.retryable) this.#retry = setTimeout(() => this.ask(), this.#backoff.next());
      else for (const { failed } of [...this.listeners]) failed(answer.error);
    });
  }

  hear(payload: PresenceState | PresenceChange): void {
    this.presence = isChange(payload) ? fold(this.presence, payload) : read(payload);
    for (const { changed } of [...this.listeners]) changed(this.presence);
  }

  /** One that came later hears what the others know. */
  greet(later: PresenceListeners): void {
    if (this.listeners.has(later) && this.presence !== null) later.changed(this.presence);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#connection.ask("presence", { ...this.#subject, follow: false }, () => {});
  }
}

function isChange(payload: PresenceState | PresenceChange): payload is PresenceChange {
  return "joined" in payload || "left" in payload;
}

function read({ users, connections, members, truncated }: PresenceState): Presence {
  return { users, connections, members: members ?? [], truncated: truncated ?? members === undefined };
}

function fold(known: Presence | null, { joined, left, users, connections }: PresenceChange): Presence {
  const who = joined ?? left;
  const others = known?.members.filter(({ user, device }) => user !== who?.user || device !== who.device) ?? [];
  const members = joined === undefined ? others : [...others, joined];
  return { users, connections, members, truncated: known?.truncated ?? true };
}

function keyOf(subject: Subject): string {
  if ("topic" in subject) return `topic ${subject.topic}`;
  return "session" in subject ? `session ${subject.session}` : `user ${subject.user}`;
}
