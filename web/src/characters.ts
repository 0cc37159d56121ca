// Cuts output between characters: xterm.js may lose one whose bytes come to its decoder in two pieces.

/** What xterm.js decodes at once; it cuts what is longer wherever that is. */
export const LARGEST_PIECE_BYTES = 128 * 1024;

/** One stream of output, of which the beginning of a character waits for the rest. */
export class Characters {
  #begun = new Uint8Array();

  /** What can be written now. */
  take(bytes: Uint8Array): Uint8Array[] {
    const all = this.#begun.length === 0 ? bytes : concat(this.#begun, bytes);
    const end = all.length - unfinished(all);
    this.#begun = all.slice(end);
    const pieces: Uint8Array[] = [];
    let from = 0;
    while (end - from > LARGEST_PIECE_BYTES) {
      const piece = all.subarray(from, from + LARGEST_PIECE_BYTES);
      const length = piece.length - unfinished(piece);
      pieces.push(piece.subarray(0, length));
      from += length;
    }
    if (from < end) pieces.push(all.subarray(from, end));
    return pieces;
  }

  /** What comes next does not continue what came before. */
  clear(): void {
    this.#begun = new Uint8Array();
  }
}

/** How many bytes at the end begin a UTF-8 character that is not complete: 0 to 3. */
export function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= 3; back++) {
    const byte = bytes.at(-back) ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < lengthFrom(byte) ? back : 0;
  }
  return 0;
}

/** How many bytes a character has that begins with this one. */
function lengthFrom(first: number): number {
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
