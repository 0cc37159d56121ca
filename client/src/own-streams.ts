// The streams that a connection reads unasked: what is said to everyone, to its user and to its device.

import type { Answer } from "./connection.js";
import { isUnanswered } from "./errors.js";
import type { AuthResult, OwnTopic, StreamStart, TopicGap, TopicMessage } from "./messages.js";

const OWN: readonly OwnTopic[] = ["@all", "@user", "@device"];
/** What may wait for the answer that says how a stream is resumed. */
const HELD_MESSAGES = 1_000;
/** Positions that are remembered per stream, to know a repeat. */
const SEEN_POSITIONS = 1_000;

/** Something that was said to this client, exactly once. */
export interface Emitted {
  to: "all" | "user" | "device" | "connection";
  event: string;
  data: unknown;
  /** Milliseconds since the epoch. */
  time: number;
}

/** Messages of a stream of one's own that are gone. */
export interface Missed {
  to: "all" | "user" | "device";
  /** How many, or null if nobody knows. */
  missed: number | null;
  reason: string;
}

export interface OwnStreamsActions {
  emitted: (emitted: Emitted) => void;
  missed: (missed: Missed) => void;
  subscribe: (topic: OwnTopic, position: string, listener: (answer: Answer) => void) => void;
}

interface OwnStream {
  position: string;
  seen: Set<string>;
  /** Not null while it is asked how the stream is resumed: what comes in is in the answer too. */
  held: TopicMessage[] | null;
}

export class OwnStreams {
  readonly #actions: OwnStreamsActions;
  readonly #streams = new Map<OwnTopic, OwnStream>();
  #user: string | null = null;

  constructor(actions: OwnStreamsActions) {
    this.#actions = actions;
  }

  /** Where to resume, for `authenticate`; undefined if nothing was ever read. */
  positions(): Partial<Record<OwnTopic, string>> | undefined {
    if (this.#streams.size === 0) return undefined;
    return Object.fromEntries([...this.#streams].map(([topic, { position }]) => [topic, position]));
  }

  /** A connection begins; `asked` says whether it gave the positions when it logged in. */
  begin({ user_id, streams }: AuthResult, asked: boolean): void {
    const sameUser = this.#user === user_id;
    // The positions of somebody else mean nothing, and what they missed is not ours.
    if (!sameUser) this.#streams.clear();
    this.#user = user_id;
    // The answers to what was asked before will not come any more.
    for (const stream of this.#streams.values()) stream.held = null;
    for (const topic of OWN) {
      const start = streams?.[topic];
      if (start === undefined) continue;
      const known = this.#streams.get(topic);
      if (known === undefined) this.#streams.set(topic, { position: start.position, seen: new Set(), held: null });
      else if (asked) this.#resume(topic, known, start);
      else if (known.position !== start.position) this.#ask(topic, known);
    }
  }

  receive(message: TopicMessage): void {
    const { topic } = message;
    if (topic === "@connection") this.#emit("connection", message);
    const stream = this.#streams.get(topic as OwnTopic);
    if (stream === undefined) return;
    if (stream.held === null) {
      this.#take(stream, message);
      return;
    }
    stream.held.push(message);
    // As if the server had refused: more is not kept for it.
    if (stream.held.length > HELD_MESSAGES) this.#release(topic as OwnTopic, stream, "too_many");
  }

  gap({ topic, missed, reason, position }: TopicGap): void {
    const stream = this.#streams.get(topic as OwnTopic);
    if (stream === undefined || stream.held !== null) return;
    stream.position = position;
    this.#actions.missed({ to: nameOf(topic), missed, reason });
  }

  #resume(topic: OwnTopic, stream: OwnStream, start: StreamStart): void {
    stream.held = null;
    // When resumed, the missed messages follow, and each brings its own position.
    if (start.verdict === "resumed") return;
    stream.position = start.position;
    this.#actions.missed({ to: nameOf(topic), missed: start.missed ?? null, reason: start.reason ?? start.verdict });
  }

  #ask(topic: OwnTopic, stream: OwnStream): void {
    const held: TopicMessage[] = [];
    stream.held = held;
    this.#actions.subscribe(topic, stream.position, (answer) => {
      // Released meanwhile, or the answer to a question of an earlier connection.
      if (stream.held !== held) return;
      if (answer.ok) this.#resume(topic, stream, answer.payload as StreamStart);
      else if (!isUnanswered(answer.error)) this.#release(topic, stream, answer.error.code);
    });
  }

  /** Goes on with what came since: what was before it is gone. */
  #release(topic: OwnTopic, stream: OwnStream, reason: string): void {
    const held = stream.held ?? [];
    stream.held = null;
    this.#actions.missed({ to: nameOf(topic), missed: null, reason });
    for (const message of held) this.#take(stream, message);
  }

  #take(stream: OwnStream, message: TopicMessage): void {
    const { position } = message;
    if (position === undefined || stream.seen.has(position)) return;
    stream.position = position;
    stream.seen.add(position);
    // A set remembers the order, so the first is the oldest.
    for (const oldest of stream.seen) {
      if (stream.seen.size <= SEEN_POSITIONS) break;
      stream.seen.delete(oldest);
    }
    this.#emit(nameOf(message.topic), message);
  }

  #emit(to: Emitted["to"], { event = "", data, time }: TopicMessage): void {
    this.#actions.emitted({ to, event, data, time });
  }
}

function nameOf(topic: string): Missed["to"] {
  return topic.slice(1) as Missed["to"];
}
