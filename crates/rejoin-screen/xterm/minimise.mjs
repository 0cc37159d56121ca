// Prints the smallest cases that still miss, for cases/regressions.json: `node minimise.mjs GROUP [CASES] [visible]`.

import { Engine } from './engine.mjs';
import { misses } from './score.mjs';
import { groups } from './suite.mjs';

/** A miss at one of these numbers of cuts is minimised; fewer cuts are faster. */
const CUTS = [1, 6, 50];
const [group, count = '60', kind = 'strict'] = process.argv.slice(2);
const engine = new Engine();

for (const { cases } of groups(Number(count)).filter(({ name }) => name === group)) {
  for (const one of cases) {
    for (const cuts of CUTS) {
      if ((await miss(one, cuts)) === undefined) continue;
      await minimise(one, cuts);
      break;
    }
  }
}
engine.close();

async function miss(one, cuts) {
  const [found] = await misses([engine], one, cuts);
  return found[kind][0];
}

async function minimise({ name, ...one }, cuts) {
  let { steps } = one;
  const shorten = async (index, replacement) => {
    const shorter = [...steps.slice(0, index), ...replacement, ...steps.slice(index + 1)];
    if ((await miss({ ...one, steps: shorter }, cuts)) !== undefined) steps = shorter;
  };

  const longest = Math.max(...steps.map((step) => step.length));
  for (let length = 2 ** Math.ceil(Math.log2(longest)); length > 0; length >>= 1) {
    for (let index = steps.length - 1; index >= 0; index--) {
      const step = steps[index];
      if (Array.isArray(step)) await shorten(index, []);
      else for (let at = step.length - (step.length % length); at >= 0; at -= length) await shorten(index, [without(steps[index], at, length)]);
    }
  }

  const about = (await miss({ ...one, steps }, cuts)).slice(0, 4);
  const text = steps.map((step) => (Array.isArray(step) ? step : step.toString('latin1')));
  console.log(JSON.stringify({ name, cols: one.cols, rows: one.rows, steps: text }), '\n ', about.join('; '));
}

function without(output, at, length) {
  return Buffer.concat([output.subarray(0, at), output.subarray(at + length)]);
}
