// Random changes of size: a viewer that stayed and one that came back show the same.

import { safeOffset } from './score.mjs';
import { random } from './soup.mjs';
import { Viewer, differences, state } from './state.mjs';

const SEEDS = 2654435761;
/** The changes of size in the life of one viewer. */
const RESIZES = 12;

/**
 * Plays recordings with `count` random changes of size in total, and returns the differences.
 *
 * As the server does, a new screen without history follows each change of size. The viewer that stayed has
 * seen everything. The one that came back starts with a screen from between two changes of size.
 */
export async function disagreements(engine, recordings, count) {
  const found = [];
  for (let done = 0, seed = 1; done < count; seed++) {
    const recording = recordings[(seed - 1) % recordings.length];
    const resizes = Math.min(RESIZES, count - done);
    const differ = await play(engine, recording, resizes, random(Math.imul(seed, SEEDS)));
    found.push(...differ.map((about) => `${recording.name}, seed ${seed}: ${about}`));
    done += resizes;
  }
  return found;
}

async function play(engine, { cols, rows, steps }, resizes, next) {
  const output = Buffer.concat(steps.filter((step) => !Array.isArray(step)));
  const offsets = Array.from({ length: 2 * resizes + 1 }, () => safeOffset(output, next(output.length + 1)));
  offsets.sort((a, b) => a - b);

  const first = output.subarray(0, offsets[0]);
  const life = Array.from({ length: resizes }, (_, index) => ({
    size: [2 + next(140), 1 + next(50)],
    missed: output.subarray(offsets[2 * index], offsets[2 * index + 1]),
    seen: output.subarray(offsets[2 * index + 1], offsets[2 * index + 2]),
  }));
  const marked = [first, ...life.flatMap(({ size, missed, seen }) => [size, null, missed, null, seen])];
  const screens = await engine.snapshots({ cols, rows, steps: marked, history: 0 });

  const stayed = new Viewer({ cols, rows });
  await stayed.write(first);
  const found = [];
  for (const [index, { size, missed, seen }] of life.entries()) {
    await stayed.play([size, screens[2 * index], missed]);
    const back = new Viewer({ cols: size[0], rows: size[1] });
    await back.write(screens[2 * index + 1]);
    found.push(...compare(`change ${index + 1}`, stayed, back));

    await stayed.write(seen);
    await back.write(seen);
    found.push(...compare(`change ${index + 1} and more output`, stayed, back));
  }
  return found;
}

// Compares the whole states, except for the history, which the viewer that came back loads on request.
function compare(about, stayed, back) {
  const [one, two] = [stayed, back].map((viewer) => withoutHistory(state(viewer, 0)));
  const found = differences(one, two);
  return found.length > 0 ? [`${about}: ${found.slice(0, 3).join('; ')}`] : [];
}

function withoutHistory({ normal: { history: _, ...normal }, ...rest }) {
  return { ...rest, normal };
}
