// Named events with typed values.

export type Unsubscribe = () => void;

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` on each event; returns what stops that. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): Unsubscribe {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    // A copy, so that a listener may unsubscribe itself or another.
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      (listener as (value: Events[Name]) => void)(value);
    }
  }
}
