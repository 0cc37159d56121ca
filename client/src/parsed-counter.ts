// Acknowledges the output of one attach that the screen has parsed.

/** Counts parsed bytes. Acknowledges each quarter of the window. */
export class ParsedCounter {
  readonly #step: number;
  readonly #send: (count: number) => void;
  #parsed = 0;
  #acknowledged = 0;

  /** `send` sends the number of bytes parsed since the attach. */
  constructor(windowBytes: number, send: (count: number) => void) {
    this.#step = windowBytes / 4;
    this.#send = send;
  }

  /** Counts a binary message, with its header. */
  add(bytes: number): void {
    this.#parsed += bytes;
    if (this.#parsed - this.#acknowledged < this.#step) return;

    this.#acknowledged = this.#parsed;
    this.#send(this.#parsed);
  }

  /** Sends the last acknowledgement again, if there was one. */
  resend(): void {
    if (this.#acknowledged > 0) this.#send(this.#acknowledged);
  }
}
