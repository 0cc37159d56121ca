// Random output, cut anywhere: a terminal restored at the cut equals the original one.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Engine } from './engine.mjs';
import { random, soup } from './soup.mjs';
import { Viewer, differences, state } from './state.mjs';

const STREAMS = Number(process.env.STREAMS ?? 400);
const FIRST = Number(process.env.FIRST ?? 1);
const HISTORY = 1000;
const engine = new Engine();

after(() => engine.close());

test(`${STREAMS} random streams are restored at a random cut`, async () => {
  for (let seed = FIRST; seed < FIRST + STREAMS; seed++) {
    const next = random(Math.imul(seed, 2654435761));
    const size = { cols: 4 + next(20), rows: 2 + next(7) };
    const bytes = soup(next, 1 + next(120), size.cols, size.rows);
    const cut = next(bytes.length + 1);
    const original = new Viewer(size);
    const restored = new Viewer(size);
    await original.write(bytes.subarray(0, cut));
    await restored.write(await engine.snapshot({ ...size, steps: [bytes.subarray(0, cut)], history: HISTORY }));
    const about = `seed ${seed}, cut at ${cut}: ${JSON.stringify(bytes.toString('latin1'))}`;
    assert.deepEqual(differences(state(original, HISTORY), state(restored, HISTORY)), [], about);
    await original.write(bytes.subarray(cut));
    await restored.write(bytes.subarray(cut));
    assert.deepEqual(differences(state(original, HISTORY), state(restored, HISTORY)), [], `later, ${about}`);
  }
});
