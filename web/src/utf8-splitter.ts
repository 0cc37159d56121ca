// Splits output between characters, because xterm.js may lose one that spans two writes.

/** The size that xterm.js decodes at once. It cuts larger writes anywhere. */
export const MAX_PIECE_BYTES = 128 * 1024;

/** A splitter for one stream of output. Holds back an incomplete character at its end. */
export class Utf8Splitter {
  #held = new Uint8Array();

  /** Returns the pieces that can be written. */
  take(bytes: Uint8Array): Uint8Array[] {
    const all = this.#held.length === 0 ? bytes : concat(this.#held, bytes);
    const end = all.length - incompleteBytes(all);
    this.#held = all.slice(end);

    const pieces: Uint8Array[] = [];
    let from = 0;
    while (end - from > MAX_PIECE_BYTES) {
      const piece = all.subarray(from, from + MAX_PIECE_BYTES);
      const length = piece.length - incompleteBytes(piece);
      pieces.push(piece.subarray(0, length));
      from += length;
    }

    if (from < end) pieces.push(all.subarray(from, end));

    return pieces;
  }

  /** Drops the held bytes, before output that does not continue them. */
  clear(): void {
    this.#held = new Uint8Array();
  }
}

/** Returns the length of an incomplete UTF-8 character at the end: 0 to 3. */
export function incompleteBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= 3; back++) {
    const byte = bytes.at(-back) ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < characterLength(byte) ? back : 0;
  }

  return 0;
}

/** Returns the length of a character by its first byte; 1 for invalid bytes. */
function characterLength(first: number): number {
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf8 ? 4 : 1;
}

function concat(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
