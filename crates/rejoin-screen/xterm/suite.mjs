// The cases of the suite in groups, each an output with changes of size.

import { readFileSync, readdirSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { features } from './features.mjs';
import { random, soup } from './soup.mjs';

const SEEDS = 2654435761;
const CASES = new URL('../cases/', import.meta.url);
/** The characters of the group `parser noise`: those that change the state of a parser, and a few others. */
const NOISE = ['\x1b', '\x1b[', '\x1b]', '\x1bP', '\x1b(', '\x18', '\x1a', '\x7f', '\x9b', '\u009b', '\u009d', '\u0090', '\u009c', '\x07', '\x1b\\', ';', ':', '?', '>', '!', '"', '$', ' ', '0', '1', '31', '2147483648', 'm', 'H', 'A', 'q', 'x', '日', '\n', '\r\n', '\b', '\t', '\xff', '\xe2'];

/** The named cases, as read from the file that the Rust tests also read. */
export const named = JSON.parse(readFileSync(new URL('cases.json', CASES), 'utf8'));

/** Minimised output that once missed; a character is a byte. */
const { regressions } = JSON.parse(readFileSync(new URL('regressions.json', CASES), 'utf8'));

/** Output of programs, recorded from a PTY. */
export const recordings = readdirSync(new URL('recordings/', CASES)).sort().map((file) => {
  const { steps, ...recording } = JSON.parse(gunzipSync(readFileSync(new URL(`recordings/${file}`, CASES))));
  return { ...recording, steps: steps.map(bytesOf) };
});

/** Returns the output and the sizes of a named case, in order. */
export function stepsOf({ output, hex = '', resize, then = '', later = [] }) {
  const first = Buffer.concat([Buffer.from(output), Buffer.from(hex, 'hex')]);
  const text = (step) => (Array.isArray(step) ? step : Buffer.from(step));
  return [first, ...(resize ? [resize] : []), Buffer.from(then), ...later.map(text)];
}

function bytesOf(step) {
  return Array.isArray(step) ? step : Buffer.from(step, 'latin1');
}

/** Returns the groups; `count` is the number of cases of each random group. */
export function groups(count) {
  const cases = named.cases.map((one) => ({ ...one, steps: stepsOf(one) }));
  const resized = (one) => one.steps.some(Array.isArray);
  const generated = (make) => Array.from({ length: count }, (_, index) => make(index + 1));
  return [
    { name: 'named cases', cases: cases.filter((one) => !resized(one)) },
    { name: 'named cases with changes of size', cases: cases.filter(resized) },
    { name: 'features', cases: features() },
    { name: 'recorded programs', cases: recordings.filter((one) => !resized(one)) },
    { name: 'recorded programs with changes of size', cases: recordings.filter(resized) },
    { name: 'grammar', cases: generated((seed) => grammar(seed, 0)) },
    { name: 'grammar with changes of size', cases: generated((seed) => grammar(seed, 3)) },
    { name: 'parser noise', cases: generated(noise) },
    { name: 'minimised regressions', cases: regressions.map((one) => ({ ...one, steps: one.steps.map(bytesOf) })) },
  ];
}

function grammar(seed, resizes) {
  const next = random(Math.imul(seed, SEEDS));
  const [cols, rows] = [4 + next(20), 2 + next(7)];
  const steps = [];
  for (let resize = 0; resize < resizes; resize++) {
    steps.push(soup(next, 1 + next(30), cols, rows), [3 + next(22), 1 + next(9)]);
  }
  return { name: `seed ${seed}`, cols, rows, steps: [...steps, soup(next, 1 + next(60), cols, rows)] };
}

function noise(seed) {
  const next = random(Math.imul(seed, SEEDS));
  const pieces = Array.from({ length: 1 + next(40) }, () => {
    const piece = NOISE[next(NOISE.length)];
    return Buffer.from(piece, piece.length === 1 && piece >= '\x80' && piece <= '\xff' && next(2) ? 'latin1' : 'utf8');
  });
  return { name: `seed ${seed}`, cols: 12, rows: 4, steps: [Buffer.concat(pieces)] };
}
