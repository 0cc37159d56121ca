// Random output that resembles the output of programs; equal seeds give equal output.

/** Returns a generator of numbers below `n` (xorshift), from a seed. */
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
// ?7 and ?45 are excluded. Without autowrap, xterm.js leaves halves of wide characters. In reverse-wrap
// mode it skips an empty underlined cell, which a snapshot restores as a space, as if that cell preceded
// a wide character.
const MODES = ['?1', '?6', '?9', '?12', '?25', '?47', '?66', '?1000', '?1002', '?1003', '?1004', '?1006', '?1016', '?1047', '?1048', '?1049', '?2004', '?2026', '4', '20'];
// J is excluded: ED 1 at the end of a row unwraps a different line in xterm.js, and throws on the last row.
// @ is excluded, and DECIC below: an insertion between the halves of a wide character leaves one of them.
const FINALS = 'ABCDEFGHIKLMPSTXZ`abdefgrsu';
const SGR = ['0', '1', '2', '3', '4', '4:3', '5', '7', '8', '9', '21', '22', '23', '24', '25', '27', '28', '29', '31', '42', '97', '105', '39', '49', '53', '55', '38;5;99', '48;5;7', '38;2;1;2;3', '48:2::9:8:7', '58;5;4', '58:2::1:2:3', '59', '38;5', '38;7;1;2;3;4;1'];
const OSC = ['0;title', '2;ütitle', '8;;https://a.example', '8;id=7;https://b.example/?x=1;y', '8;;', '4;1;#123456', '4;300;#000000', '11;rgb:1/2/3', '104;1', '111', '133;A', '52;c;aGk='];
const ODD = ["\x1b[2 @", "\x1b[1 A", "\x1b[2'~", '\x1b[1"q', '\x1b[0"q', '\x1b[?2K', '\x1b[3 q', '\x1b[0 q', '\x1b[!p', '\x1b[>1u', '\x1b[22;2t', '\x1b[23;2t', '\x1b_apc\x1b\\', '\x1bPq#1\x1b\\', '\x1b[1;', '\x1b]0;cut', '\x1b[?1?2h', '\x1b[3\n1m', '\x1b[31\x18'];

// xterm.js saves links and underlines only partly, so they are turned off before a cursor is saved.
const UNLINKED = '\x1b]8;;\x07\x1b[24m';
const SAVES = /^\x1b(?:[78]|\[\?104[89].|\[.*[su])$/;

// These would empty the cell of a pending wrap on the alternate screen, which no snapshot can restore.
const SHIFTS = /^\x1b\[.*(?:[ST]| [@A]|'~|\?2K)$/;

/** Returns random output of `pieces` pieces, for a screen of this size. */
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
