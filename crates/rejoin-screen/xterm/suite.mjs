// The suite of the report: groups of cases, each an output with changes of size, and their score.

import { readFileSync } from 'node:fs';
import { random, soup } from './soup.mjs';
import { Viewer, differences, state } from './state.mjs';

const HISTORY = 1000;
const SEEDS = 2654435761;
/** The characters of the group `parser noise`: those that change the state of a parser, and a few others. */
const NOISE = ['\x1b', '\x1b[', '\x1b]', '\x1bP', '\x1b(', '\x18', '\x1a', '\x7f', '\x9b', '\u009b', '\u009d', '\u0090', '\u009c', '\x07', '\x1b\\', ';', ':', '?', '>', '!', '"', '$', ' ', '0', '1', '31', '2147483648', 'm', 'H', 'A', 'q', 'x', '日', '\n', '\r\n', '\b', '\t', '\xff', '\xe2'];

/** The named cases, as read from the file that the Rust tests also read. */
export const named = JSON.parse(readFileSync(new URL('../cases/cases.json', import.meta.url), 'utf8'));

const { recordings } = JSON.parse(readFileSync(new URL('../cases/recordings.json', import.meta.url), 'utf8'));

/** Returns the output and the sizes of a named case, in order. */
export function stepsOf({ output, hex = '', resize, then = '', later = [] }) {
  const first = Buffer.concat([Buffer.from(output), Buffer.from(hex, 'hex')]);
  return [first, ...(resize ? [resize] : []), Buffer.from(then), ...bytesOf(later)];
}

function bytesOf(steps) {
  return steps.map((step) => (Array.isArray(step) ? step : Buffer.from(step)));
}

/** Returns the groups; `count` is the number of cases of each random group. */
export function groups(count) {
  const cases = named.cases.map((one) => ({ ...one, steps: stepsOf(one) }));
  const resized = (one) => one.steps.some(Array.isArray);
  const generated = (make) => Array.from({ length: count }, (_, index) => make(index + 1));
  return [
    { name: 'named cases', cases: cases.filter((one) => !resized(one)) },
    { name: 'named cases with changes of size', cases: cases.filter(resized) },
    { name: 'recorded programs', cases: recordings.map(({ steps, ...one }) => ({ ...one, steps: bytesOf(steps) })) },
    { name: 'grammar', cases: generated((seed) => grammar(seed, 0)) },
    { name: 'grammar with changes of size', cases: generated((seed) => grammar(seed, 3)) },
    { name: 'parser noise', cases: generated(noise) },
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

/**
 * Restores a case at `cuts` offsets of each output, and returns the differences from the viewer that saw
 * everything: `visible` on the screen, `strict` in the whole state. A restored viewer continues up to the
 * next change of size, after which the server sends a new snapshot.
 */
export async function misses(engine, { cols, rows, steps }, cuts) {
  const found = { cuts: 0, visible: [], strict: [] };
  const played = async (more, extent = { cols, rows }) => {
    const viewer = new Viewer(extent);
    await viewer.play(more);
    return viewer;
  };
  let size = { cols, rows };
  for (const [index, step] of steps.entries()) {
    if (Array.isArray(step)) {
      size = { cols: step[0], rows: step[1] };
      continue;
    }
    const done = steps.slice(0, index);
    const whole = await played([...done, step]);
    for (let cut = 0; cut <= cuts; cut++) {
      let offset = Math.floor((step.length * cut) / cuts);
      // xterm.js loses a character that is split after a byte 0x80; the pages split elsewhere.
      while (step[offset - 1] === 0x80 && offset < step.length) offset += 1;
      const before = [...done, step.subarray(0, offset)];
      const restored = await played([await engine.snapshot({ cols, rows, steps: before, history: HISTORY })], size);
      compare(found, `cut at ${offset}`, await played(before), restored);
      await restored.write(step.subarray(offset));
      compare(found, `later, cut at ${offset}`, whole, restored);
    }
  }
  return found;
}

function compare(found, about, original, restored) {
  const [one, two] = [state(original, HISTORY), state(restored, HISTORY)];
  const strict = differences(one, two);
  const visible = differences(visibleOf(one), visibleOf(two));
  found.cuts += 1;
  if (strict.length > 0) found.strict.push([about, ...strict]);
  if (visible.length > 0) found.visible.push([about, ...visible]);
}

/** Returns the part of a state that a user sees without further output. */
function visibleOf({ size, altActive, normal, alt, cursorHidden, title, palette }) {
  const { cursor, lines } = altActive ? alt : normal;
  return { size, cursor, cursorHidden, title, palette, lines: lines.slice(-size[1]).map((line) => line.slice(1)) };
}
