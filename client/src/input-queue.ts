// Input on its way to a session: numbered, bounded in flight, sent again after a reconnect.

/** Larger input, such as a paste, is split into pieces. */
const PIECE_BYTES = 8 * 1024;
/** The limits of unacknowledged input. The rest waits here, so a paste does not block others. */
const MAX_IN_FLIGHT_PIECES = 64;
const MAX_IN_FLIGHT_BYTES = 64 * 1024;

/** A numbered piece of input. */
export interface InputPiece {
  /** Starts at 1 and has no gaps. */
  seq: number;
  bytes: Uint8Array;
}

/** A queue of one writer's input to one session. */
export class InputQueue {
  #unsent: Uint8Array[] = [];
  #inFlight: InputPiece[] = [];
  #inFlightBytes = 0;
  #lastSeq = 0;

  /** Bytes that are not acknowledged, sent or not. */
  get bytes(): number {
    return this.#unsent.reduce((sum, bytes) => sum + bytes.length, this.#inFlightBytes);
  }

  /** Input that was sent and is not acknowledged. */
  get inFlight(): readonly InputPiece[] {
    return this.#inFlight;
  }

  /** Appends input, split into pieces. */
  push(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      this.#unsent.push(bytes.subarray(start, start + PIECE_BYTES));
    }
  }

  /** Moves pieces in flight while the limits allow it. Returns them, to be sent. */
  take(): InputPiece[] {
    const taken: InputPiece[] = [];

    for (let bytes = this.#unsent[0]; bytes !== undefined; bytes = this.#unsent[0]) {
      // A piece that does not fit also holds back those behind it: input keeps its order.
      if (this.#inFlight.length >= MAX_IN_FLIGHT_PIECES) break;
      if (this.#inFlightBytes + bytes.length > MAX_IN_FLIGHT_BYTES) break;

      this.#unsent.shift();
      this.#lastSeq += 1;
      const piece = { seq: this.#lastSeq, bytes };
      this.#inFlight.push(piece);
      this.#inFlightBytes += bytes.length;
      taken.push(piece);
    }

    return taken;
  }

  /** Drops the pieces up to and including `seq`. */
  acknowledge(seq: number): void {
    this.#inFlight = this.#inFlight.filter((piece) => piece.seq > seq);
    this.#updateInFlightBytes();
  }

  /**
   * Continues after the last input that the session has taken. Returns the pieces to resend.
   *
   * Renumbers them from `seq` on: a restarted session may know fewer inputs than it acknowledged.
   */
  resume(seq: number): readonly InputPiece[] {
    this.acknowledge(seq);

    this.#lastSeq = seq;
    for (const piece of this.#inFlight) {
      this.#lastSeq += 1;
      piece.seq = this.#lastSeq;
    }

    return this.#inFlight;
  }

  /** Drops all input. */
  clear(): void {
    this.#unsent = [];
    this.#inFlight = [];
    this.#updateInFlightBytes();
  }

  #updateInFlightBytes(): void {
    this.#inFlightBytes = this.#inFlight.reduce((sum, piece) => sum + piece.bytes.length, 0);
  }
}
