// The presence of users, followed across reconnects.

import { Backoff } from "./backoff.js";
import type { Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import type {
  PresenceChange,
  PresenceMember,
  PresenceState,
  ServerMessage,
  Subject,
} from "./messages.js";
import type { Requester } from "./requester.js";

/** The current presence of a subject. */
export interface Presence {
  users: number;
  connections: number;
  /** The present devices of all users. */
  members: readonly PresenceMember[];
  /** True if `members` is incomplete. */
  truncated: boolean;
}

export interface PresenceListeners {
  /** Called with the state at first, after each change, and after each reconnect. */
  changed: (presence: Presence) => void;
  /** Called when the server refuses; the next attempt is on the next connection. */
  failed: (error: RejoinError) => void;
}

/** The followed subjects of a connection: one subscription each, shared by its listeners. */
export class PresenceSubscriptions {
  readonly #connection: Requester;
  readonly #subscriptions = new Map<string, PresenceSubscription>();

  constructor(connection: Requester) {
    this.#connection = connection;
    connection.on("open", () => {
      for (const subscription of this.#subscriptions.values()) subscription.subscribe();
    });
    connection.on("message", (message) => this.#receive(message));
  }

  /** Follows a subject. Returns a function that stops it. */
  follow(subject: Subject, listeners: PresenceListeners): Unsubscribe {
    const key = keyOf(subject);
    const known = this.#subscriptions.get(key);
    const subscription = known ?? new PresenceSubscription(this.#connection, subject);
    this.#subscriptions.set(key, subscription);

    // A copy, because the set would merge two subscriptions of the same listeners.
    const entry = { ...listeners };
    subscription.listeners.add(entry);
    if (known === undefined) subscription.subscribe();
    // Later, when the caller has the function that stops it.
    else if (known.presence !== null) queueMicrotask(() => subscription.replayTo(entry));

    return () => {
      subscription.listeners.delete(entry);
      if (subscription.listeners.size > 0) return;

      // A second call must not end a newer subscription to the same subject.
      if (this.#subscriptions.get(key) !== subscription) return;

      this.#subscriptions.delete(key);
      subscription.unsubscribe();
    };
  }

  #receive(message: ServerMessage): void {
    if (message.type !== "presence") return;

    this.#subscriptions.get(keyOf(message.payload))?.receive(message.payload);
  }
}

/** A subscription to one subject. */
class PresenceSubscription {
  readonly listeners = new Set<PresenceListeners>();
  readonly #connection: Requester;
  readonly #subject: Subject;
  readonly #backoff = new Backoff();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ended = false;
  /** Null until the first reply. */
  presence: Presence | null = null;

  constructor(connection: Requester, subject: Subject) {
    this.#connection = connection;
    this.#subject = subject;
  }

  /** Requests the state and its changes. */
  subscribe(): void {
    clearTimeout(this.#retry);

    this.#connection.sendRequest("presence", { ...this.#subject, follow: true }, (reply) => {
      if (this.#ended) return;

      if (reply.ok) {
        this.#backoff.reset();
        this.receive(reply.payload as PresenceState);
        return;
      }

      // The next connection subscribes again.
      if (this.#connection.state.name !== "connected") return;
      if (reply.error.retryable) {
        this.#retry = setTimeout(() => this.subscribe(), this.#backoff.next());
        return;
      }

      for (const { failed } of [...this.listeners]) failed(reply.error);
    });
  }

  /** Applies a state or a change, and notifies the listeners. */
  receive(payload: PresenceState | PresenceChange): void {
    this.presence = isChange(payload) ? applyChange(this.presence, payload) : toPresence(payload);
    // A copy, because a listener may stop following.
    for (const { changed } of [...this.listeners]) changed(this.presence);
  }

  /** Sends the known state to a listener that joined later. */
  replayTo(listener: PresenceListeners): void {
    if (this.listeners.has(listener) && this.presence !== null) listener.changed(this.presence);
  }

  unsubscribe(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#connection.sendRequest("presence", { ...this.#subject, follow: false }, () => {});
  }
}

function isChange(payload: PresenceState | PresenceChange): payload is PresenceChange {
  return "joined" in payload || "left" in payload;
}

function toPresence({ users, connections, members, truncated }: PresenceState): Presence {
  return {
    users,
    connections,
    members: members ?? [],
    truncated: truncated ?? members === undefined,
  };
}

function applyChange(known: Presence | null, change: PresenceChange): Presence {
  const { joined, left, users, connections } = change;
  const changed = joined ?? left;
  const isOther = ({ user, device }: PresenceMember) =>
    user !== changed?.user || device !== changed.device;

  // A join may also update a known member, such as its name.
  const others = known?.members.filter(isOther) ?? [];
  const members = joined === undefined ? others : [...others, joined];
  // Without a known state, there may be any number of other members.
  return { users, connections, members, truncated: known?.truncated ?? true };
}

function keyOf(subject: Subject): string {
  if ("topic" in subject) return `topic ${subject.topic}`;
  return "session" in subject ? `session ${subject.session}` : `user ${subject.user}`;
}
