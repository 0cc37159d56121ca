// Each named case: a restored terminal equals the original one, at once and after more output.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Engine } from './engine.mjs';
import { Viewer, differences, state } from './state.mjs';
import { named as suite, stepsOf } from './suite.mjs';

const { cases, tails } = suite;
const HISTORY = 1000;
const engine = new Engine();
let exact = 0;

after(() => {
  engine.close();
  console.log(`exact restores: ${exact} of ${cases.length}`);
});

for (const named of cases) {
  test(`${named.name} is restored`, async () => {
    const steps = stepsOf(named);
    const snapshot = await engine.snapshot({ ...named, steps, history: HISTORY });
    const [cols, rows] = steps.findLast(Array.isArray) ?? [named.cols, named.rows];
    for (const tail of ['', ...tails]) {
      const original = new Viewer(named);
      await original.play(steps);
      const restored = new Viewer({ cols, rows });
      // The snapshot must remove every trace of this previous state.
      await restored.write('\x1b[?1049h\x1b[4h\x1b[31;44mold\x1b]0;old\x07\x1b]4;7;#123456\x07\x1b[?25l\x1b[?1003h\x1b[');
      await restored.write(snapshot);
      assert.equal(restored.answers, '', 'the snapshot contains no query');
      await original.write(tail);
      await restored.write(tail);
      const found = differences(state(original, HISTORY), state(restored, HISTORY));
      assert.deepEqual(found, [], `after the tail ${JSON.stringify(tail)}`);
    }
    exact += 1;
  });
}
