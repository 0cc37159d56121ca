// A topic of the test server: what it keeps, and what a subscriber gets of it.

import type { Subscribed } from "../src/messages.js";

interface Kept {
  position: string;
  data: unknown;
  event?: string;
}

export class TestTopic {
  #kept: Kept[] = [];
  /** How many messages there ever were, and so the number of the newest. */
  #count = 0;

  publish(data: unknown, event?: string): string {
    this.#count += 1;
    const position = `t.${this.#count}`;
    this.#kept.push({ position, data, ...(event !== undefined && { event }) });
    return position;
  }

  /** Retention: the oldest messages go. */
  drop(count: number): void {
    this.#kept.splice(0, count);
  }

  /** What a subscriber with this position is told, and what follows. */
  read(position?: string): { start: Omit<Subscribed, "topic">; messages: Kept[] } {
    const oldest = this.#count - this.#kept.length;
    const begin = (number: number, how: Pick<Subscribed, "verdict" | "missed" | "reason">) => {
      const messages = this.#kept.slice(number - oldest);
      return { start: { ...how, replayed: messages.length, position: `t.${number}` }, messages };
    };
    if (position === undefined) return begin(this.#count, { verdict: "fresh" });
    if (!position.startsWith("t.")) return begin(oldest, { verdict: "gap", reason: "epoch" });
    const number = Number(position.slice(2));
    if (number >= oldest) return begin(number, { verdict: "resumed" });
    return begin(oldest, { verdict: "gap", missed: oldest - number, reason: "retention" });
  }
}
