// Input on its way: numbered, bounded in flight, sent again after a reconnect.

/** Larger input, such as a paste, is cut. */
const PIECE_BYTES = 8 * 1024;
/** What may be in flight; the rest waits here, so that a paste blocks nobody. */
const IN_FLIGHT_PIECES = 64;
const IN_FLIGHT_BYTES = 64 * 1024;

export interface Piece {
  /** From 1, without holes. */
  seq: number;
  bytes: Uint8Array;
}

export class InputQueue {
  #waiting: Uint8Array[] = [];
  #flying: Piece[] = [];
  #flyingBytes = 0;
  #lastSeq = 0;

  /** Bytes that were not acknowledged yet. */
  get bytes(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, this.#flyingBytes);
  }

  push(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      this.#waiting.push(bytes.subarray(start, start + PIECE_BYTES));
    }
  }

  /** Takes what may be sent now. */
  take(): Piece[] {
    const taken: Piece[] = [];
    for (let bytes = this.#waiting[0]; bytes !== undefined; bytes = this.#waiting[0]) {
      if (this.#flying.length >= IN_FLIGHT_PIECES || this.#flyingBytes + bytes.length > IN_FLIGHT_BYTES) break;
      this.#waiting.shift();
      this.#lastSeq += 1;
      const piece = { seq: this.#lastSeq, bytes };
      this.#flying.push(piece);
      this.#flyingBytes += bytes.length;
      taken.push(piece);
    }
    return taken;
  }

  /** All up to `seq` has been written. */
  acknowledge(seq: number): void {
    this.#flying = this.#flying.filter((piece) => piece.seq > seq);
    this.#count();
  }

  /**
   * The session says what it took last: what it has is dropped, what it lacks is returned, to be
   * sent again. The numbers go on from there, also if the session knows less than it acknowledged.
   */
  resume(seq: number): readonly Piece[] {
    this.acknowledge(seq);
    this.#lastSeq = seq;
    for (const piece of this.#flying) {
      this.#lastSeq += 1;
      piece.seq = this.#lastSeq;
    }
    return this.#flying;
  }

  /** What was sent and is not acknowledged. */
  inFlight(): readonly Piece[] {
    return this.#flying;
  }

  clear(): void {
    this.#waiting = [];
    this.#flying = [];
    this.#count();
  }

  #count(): void {
    this.#flyingBytes = this.#flying.reduce((sum, piece) => sum + piece.bytes.length, 0);
  }
}
