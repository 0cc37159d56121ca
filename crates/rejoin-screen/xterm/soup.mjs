// Random output that looks like what programs print: the same for the same seed.

/** A generator of numbers below `n`, from a seed. */
export function random(seed) {
  let state = seed >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

const TEXTS = ['a', 'hello world', '  ', 'x'.repeat(30), '日本', '語', 'e\u0301', '🦀', '👩\u200d💻', 'lqk', '#', 'ü', '\u2500\u2500'];
const CONTROLS = ['\r\n', '\n', '\r', '\b', '\t', '\x0e', '\x0f', '\x07', '\v', '\x18', '\u0084', '\u0085', '\u0088'];
const ESCAPES = ['7', '8', 'D', 'E', 'H', 'M', '=', '>', '(0', '(B', ')0', ')B', '*0', 'n', '(A', '#8', '%G', 'c', '\\'];
// Without ?7 and ?45: xterm.js leaves halves of wide characters where autowrap is off, and goes back
// over an empty underlined cell, which is restored as a space, as over one that was left for a wide one.
const MODES = ['?1', '?6', '?9', '?12', '?25', '?47', '?66', '?1000', '?1002', '?1003', '?1004', '?1006', '?1016', '?1047', '?1048', '?1049', '?2004', '?2026', '4', '20'];
// Without J: ED 1 at the end of a row unwraps another line in xterm.js, and throws on the last row.
// Without @, as without DECIC below: inserting between the halves of a wide character leaves one of them.
const FINALS = 'ABCDEFGHIKLMPSTXZ`abdefgrsu';
const SGR = ['0', '1', '2', '3', '4', '4:3', '5', '7', '8', '9', '21', '22', '23', '24', '25', '27', '28', '29', '31', '42', '97', '105', '39', '49', '53', '55', '38;5;99', '48;5;7', '38;2;1;2;3', '48:2::9:8:7', '58;5;4', '58:2::1:2:3', '59', '38;5', '38;7;1;2;3;4;1'];
const OSC = ['0;title', '2;ütitle', '8;;https://a.example', '8;id=7;https://b.example/?x=1;y', '8;;', '4;1;#123456', '4;300;#000000', '11;rgb:1/2/3', '104;1', '111', '133;A', '52;c;aGk='];
const ODD = ["\x1b[2 @", "\x1b[1 A", "\x1b[2'~", '\x1b[1"q', '\x1b[0"q', '\x1b[?2K', '\x1b[3 q', '\x1b[0 q', '\x1b[!p', '\x1b[>1u', '\x1b[22;2t', '\x1b[23;2t', '\x1b_apc\x1b\\', '\x1bPq#1\x1b\\', '\x1b[1;', '\x1b]0;cut', '\x1b[?1?2h', '\x1b[3\n1m', '\x1b[31\x18'];

// xterm.js saves and restores these by halves: with them on, a restored cursor has some of both.
const UNLINKED = '\x1b]8;;\x07\x1b[24m';
const SAVES = /^\x1b(?:[78]|\[\?104[89].|\[.*[su])$/;

// What these leave below a cursor that waits at the margin of the alternate screen cannot be restored.
const SHIFTS = /^\x1b\[.*(?:[ST]| [@A]|'~|\?2K)$/;

/** So many pieces as bytes, for a screen of that size. */
export function soup(next, pieces, cols, rows) {
  const pick = (list) => list[next(list.length)];
  const number = () => pick([0, 1, 2, 3, next(rows + 2), next(cols + 3)]);
  const piece = () => {
    switch (next(17)) {
      case 0: case 1: case 2: case 3: case 4: return pick(TEXTS);
      case 5: case 6: return pick(CONTROLS);
      case 7: return `\x1b${pick(ESCAPES)}`;
      case 8: return `\x1b[${pick(MODES)}${pick('hl')}`;
      case 9: case 10: return `\x1b[${pick(SGR)}${next(3) ? '' : `;${pick(SGR)}`}m`;
      case 11: return `\x1b]${pick(OSC)}${pick(['\x07', '\x1b\\'])}`;
      case 12: return pick(ODD);
      case 13: return `\x1b[${next(rows) + 1};${next(cols) + 1}H`;
      case 14: return `\x1b[${number()}${next(2) ? `;${number()}` : ''}${pick(FINALS)}`;
      case 15: return `\x1b[${pick(['', '2'])}J`;
      default: return Buffer.from([pick([0xff, 0xc3, 0xe2, 0x80, 0x9c, 0xf0, 0x9f])]);
    }
  };
  const careful = (piece) => (SAVES.test(piece) ? UNLINKED : SHIFTS.test(piece) ? '\b' : '') + piece;
  return Buffer.concat(Array.from({ length: pieces }, () => Buffer.from(careful(piece()))));
}
