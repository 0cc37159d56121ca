// The score of a case: viewers restored at many offsets against a viewer that saw everything.

import { EMPTY, Viewer, differences, state } from './state.mjs';

export const HISTORY = 1000;

/**
 * Restores a case with each engine at up to `cuts` + 1 offsets of each output, and returns for each engine
 * the differences from the viewer that saw everything: `visible` on the screen, `strict` in the whole state.
 *
 * A restored viewer continues up to the next change of size, after which the server sends a new snapshot.
 */
export async function misses(engines, { cols, rows, steps }, cuts) {
  const parts = split(steps, { cols, rows }, cuts);
  const marked = parts.flatMap((part) => (part.offset === undefined ? [part.step] : [part.step, null]));
  const snapshots = await Promise.all(engines.map((engine) => engine.snapshots({ cols, rows, steps: marked, history: HISTORY })));

  const original = new Viewer({ cols, rows });
  const cutAt = [];
  for (const part of parts) {
    await original.play([part.step]);
    if (part.offset !== undefined) cutAt.push({ ...part, state: state(original, HISTORY) });
  }

  const found = engines.map(() => ({ cuts: 0, visible: [], strict: [] }));
  for (const [index, cut] of cutAt.entries()) {
    const whole = cutAt.findLast(({ step: _, output }) => output === cut.output).state;
    for (const [which, engine] of snapshots.entries()) {
      const restored = new Viewer(cut.size);
      await restored.write(engine[index]);
      compare(found[which], `cut at ${cut.offset}`, cut.state, state(restored, HISTORY));
      if (cut.offset === cut.output.length) continue;
      await restored.write(cut.output.subarray(cut.offset));
      compare(found[which], `later, cut at ${cut.offset}`, whole, state(restored, HISTORY));
    }
  }
  return found;
}

// Returns the steps with each output split at the cuts; `offset` is the end of a piece in its output.
function split(steps, first, cuts) {
  let size = first;
  return steps.flatMap((step) => {
    if (Array.isArray(step)) {
      size = { cols: step[0], rows: step[1] };
      return [{ step }];
    }
    const offsets = Array.from({ length: cuts + 1 }, (_, cut) => safeOffset(step, Math.floor((step.length * cut) / cuts)));
    let start = 0;
    return [...new Set(offsets)].map((offset) => {
      const piece = { step: step.subarray(start, offset), offset, output: step, size };
      start = offset;
      return piece;
    });
  });
}

/** Returns the next offset at which output may be split: xterm.js loses a character that is split after a byte 0x80. */
export function safeOffset(output, offset) {
  while (output[offset - 1] === 0x80 && offset < output.length) offset += 1;
  return offset;
}

function compare(found, about, one, two) {
  const strict = differences(one, two);
  const visible = differences(visibleOf(one), visibleOf(two));
  found.cuts += 1;
  if (strict.length > 0) found.strict.push([about, ...strict]);
  if (visible.length > 0) found.visible.push([about, ...visible]);
}

/** Returns the part of a state that a user sees without further output. */
function visibleOf({ size, altActive, normal, alt, cursorHidden, title, palette }) {
  const { cursor, lines } = altActive ? alt : normal;
  return { size, cursor, cursorHidden, title, palette, lines: lines.slice(-size[1]).map(seen) };
}

// Returns what is seen of a line: neither the soft wrap, nor whether a cell is empty or contains a space.
function seen(line) {
  return line.slice(1).replaceAll(EMPTY, ' ').replace(/ +$/, '').replace(/\{0 0\}$/, '').replace(/ +$/, '');
}
