// Named events with typed values.

/** Removes a listener. Calls after the first do nothing. */
export type Unsubscribe = () => void;

/** A set of listeners by event name. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` for each event. Returns a function that removes it. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): Unsubscribe {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }

    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Calls all listeners of an event, in the order in which they were added. */
  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    // A copy: a listener may remove itself or another one.
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      (listener as (value: Events[Name]) => void)(value);
    }
  }
}
