// The character widths of rejoin-screen as a Unicode version of xterm.js.

/** For `terminal.unicode.register`; then set `activeVersion` to `rejoin`. */
export class EngineWidths {
  version = 'rejoin';
  #zero;
  #wide;

  /** Creates the version from the content of widths.json. */
  constructor(table) {
    this.#zero = table['0'];
    this.#wide = table['2'];
  }

  wcwidth(code) {
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return 0;
    if (code < 0xa0) return 1;
    if (within(this.#zero, code)) return 0;
    return within(this.#wide, code) ? 2 : 1;
  }

  // Returns the width in bits 1 and 2, and in bit 0 whether the character combines with the previous one.
  charProperties(code, preceding) {
    const width = this.wcwidth(code);
    const before = (preceding >> 1) & 3;
    return width === 0 && before > 0 ? (before << 1) | 1 : width << 1;
  }
}

function within(ranges, code) {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [first, last] = ranges[middle];
    if (code < first) high = middle - 1;
    else if (code > last) low = middle + 1;
    else return true;
  }
  return false;
}
