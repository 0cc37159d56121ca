// The streams that each connection reads without subscribing: everyone's, its user's, its device's.

import { isConnectionError } from "./errors.js";
import type { Emitted, Missed } from "./events.js";
import type { AuthResult, ImplicitTopic, StreamStart, TopicGap, TopicMessage } from "./messages.js";
import type { ReplyListener } from "./requester.js";

const TOPICS: readonly ImplicitTopic[] = ["@all", "@user", "@device"];
/** The limit of messages held back until the server replies to a resume. */
const MAX_HELD_MESSAGES = 1_000;
/** Positions remembered per stream to detect repeated messages. */
const MAX_SEEN_POSITIONS = 1_000;

export interface ImplicitStreamsActions {
  emitted: (emitted: Emitted) => void;
  missed: (missed: Missed) => void;
  subscribe: (topic: ImplicitTopic, position: string, listener: ReplyListener) => void;
}

interface ImplicitStream {
  position: string;
  /** The latest positions, oldest first. */
  seen: Set<string>;
  /** Messages that arrive during a resume, because its replay contains them too; else null. */
  held: TopicMessage[] | null;
}

/** The positions in the implicit streams, kept across the connections of one user. */
export class ImplicitStreams {
  readonly #actions: ImplicitStreamsActions;
  readonly #streams = new Map<ImplicitTopic, ImplicitStream>();
  #user: string | null = null;

  constructor(actions: ImplicitStreamsActions) {
    this.#actions = actions;
  }

  /** Returns the positions for `authenticate`; undefined before the first connection. */
  positions(): Partial<Record<ImplicitTopic, string>> | undefined {
    if (this.#streams.size === 0) return undefined;
    return Object.fromEntries([...this.#streams].map(([topic, { position }]) => [topic, position]));
  }

  /** Continues on a new connection, whose `authenticate` carried the positions. */
  resume(auth: AuthResult): void {
    this.#start(auth, (topic, known, start) => this.#applyStart(topic, known, start));
  }

  /** Continues on a new connection that did not send the positions: subscribes with them. */
  resubscribe(auth: AuthResult): void {
    this.#start(auth, (topic, known, start) => {
      if (known.position !== start.position) this.#subscribe(topic, known);
    });
  }

  #start(
    { user_id, streams }: AuthResult,
    resume: (topic: ImplicitTopic, known: ImplicitStream, start: StreamStart) => void,
  ): void {
    // Positions of another user mean nothing to this one.
    if (this.#user !== user_id) this.#streams.clear();
    this.#user = user_id;
    // Replies to requests of an earlier connection will not arrive.
    for (const stream of this.#streams.values()) stream.held = null;

    for (const topic of TOPICS) {
      const start = streams?.[topic];
      if (start === undefined) continue;

      const known = this.#streams.get(topic);
      if (known !== undefined) resume(topic, known, start);
      else this.#streams.set(topic, { position: start.position, seen: new Set(), held: null });
    }
  }

  /** Handles a message of any topic; ignores those of other streams. */
  receive(message: TopicMessage): void {
    const { topic } = message;
    // Messages to one connection are in no stream and have no position.
    if (topic === "@connection") this.#emit("connection", message);

    const stream = this.#streams.get(topic as ImplicitTopic);
    if (stream === undefined) return;
    if (stream.held === null) {
      this.#accept(stream, message);
      return;
    }

    stream.held.push(message);
    // Above the limit, the resume counts as refused.
    if (stream.held.length > MAX_HELD_MESSAGES) {
      this.#skipGap(topic as ImplicitTopic, stream, "too_many");
    }
  }

  /** Handles a gap of any topic; ignores those of other streams. */
  receiveGap({ topic, missed, reason, position }: TopicGap): void {
    const stream = this.#streams.get(topic as ImplicitTopic);
    // During a resume, its reply reports the gap.
    if (stream === undefined || stream.held !== null) return;

    stream.position = position;
    this.#actions.missed({ to: audienceOf(topic), missed, reason });
  }

  #applyStart(topic: ImplicitTopic, stream: ImplicitStream, start: StreamStart): void {
    stream.held = null;
    // The replay follows, and each of its messages carries its own position.
    if (start.verdict === "resumed") return;

    stream.position = start.position;
    const { missed = null, reason = start.verdict } = start;
    this.#actions.missed({ to: audienceOf(topic), missed, reason });
  }

  #subscribe(topic: ImplicitTopic, stream: ImplicitStream): void {
    const held: TopicMessage[] = [];
    stream.held = held;

    this.#actions.subscribe(topic, stream.position, (reply) => {
      // The resume was given up, or the reply belongs to an earlier connection.
      if (stream.held !== held) return;

      if (reply.ok) this.#applyStart(topic, stream, reply.payload as StreamStart);
      else if (!isConnectionError(reply.error)) this.#skipGap(topic, stream, reply.error.code);
    });
  }

  /** Gives up a resume: reports the gap and delivers the held messages. */
  #skipGap(topic: ImplicitTopic, stream: ImplicitStream, reason: string): void {
    const held = stream.held ?? [];
    stream.held = null;

    this.#actions.missed({ to: audienceOf(topic), missed: null, reason });
    for (const message of held) this.#accept(stream, message);
  }

  #accept(stream: ImplicitStream, message: TopicMessage): void {
    const { position } = message;
    if (position === undefined || stream.seen.has(position)) return;

    stream.position = position;
    stream.seen.add(position);
    // A set iterates in insertion order, so the first position is the oldest.
    for (const oldest of stream.seen) {
      if (stream.seen.size <= MAX_SEEN_POSITIONS) break;

      stream.seen.delete(oldest);
    }

    this.#emit(audienceOf(message.topic), message);
  }

  #emit(to: Emitted["to"], { event = "", data, time }: TopicMessage): void {
    this.#actions.emitted({ to, event, data, time });
  }
}

/** Returns a topic's name without its `@`. */
function audienceOf(topic: string): Missed["to"] {
  return topic.slice(1) as Missed["to"];
}
