// A topic of the test server.

import type { Subscribed } from "../src/messages.js";

interface Retained {
  position: string;
  data: unknown;
  event?: string;
}

/** The retained messages of a topic. */
export class TestTopic {
  #retained: Retained[] = [];
  /** The number of all messages so far, which is the number of the newest one. */
  #count = 0;

  /** Appends a message. Returns its position. */
  publish(data: unknown, event?: string): string {
    this.#count += 1;
    const position = `t.${this.#count}`;
    this.#retained.push({ position, data, ...(event !== undefined && { event }) });
    return position;
  }

  /** Drops the oldest messages, as retention does. */
  drop(count: number): void {
    this.#retained.splice(0, count);
  }

  /** Returns the start of a reader and the messages that follow. */
  read(position?: string): { start: Omit<Subscribed, "topic">; messages: Retained[] } {
    const oldest = this.#count - this.#retained.length;
    const startAt = (number: number, result: Pick<Subscribed, "verdict" | "missed" | "reason">) => {
      const messages = this.#retained.slice(number - oldest);
      return { start: { ...result, replayed: messages.length, position: `t.${number}` }, messages };
    };
    if (position === undefined) return startAt(this.#count, { verdict: "fresh" });
    if (!position.startsWith("t.")) return startAt(oldest, { verdict: "gap", reason: "epoch" });

    const number = Number(position.slice(2));
    if (number >= oldest) return startAt(number, { verdict: "resumed" });
    return startAt(oldest, { verdict: "gap", missed: oldest - number, reason: "retention" });
  }
}
