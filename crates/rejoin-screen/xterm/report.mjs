// Prints the score of each group of the suite: `node report.mjs [--cases N] [--cuts N] [--engines] [--misses]`.

import { parseArgs } from 'node:util';
import { Engine } from './engine.mjs';
import { others } from './others.mjs';
import { disagreements } from './resizes.mjs';
import { misses } from './score.mjs';
import { groups, recordings } from './suite.mjs';

const { values } = parseArgs({
  options: {
    // The number of cases of each random group, and of cuts of each output.
    cases: { type: 'string', default: '120' },
    cuts: { type: 'string', default: '50' },
    // Only groups whose names match this regular expression.
    group: { type: 'string', default: '' },
    resizes: { type: 'string', default: '1000' },
    engines: { type: 'boolean', default: false },
    misses: { type: 'boolean', default: false },
  },
});
const selected = new RegExp(values.group);
const ours = new Engine();
const engines = [ours, ...(values.engines ? others() : [])];
const totals = engines.map(() => ({ cases: 0, visible: 0, strict: 0, cuts: 0, exact: 0 }));

console.log(`${'group, engine'.padEnd(46)}cases   visible    strict   comparisons     exact`);
for (const { name, cases } of groups(Number(values.cases)).filter(({ name }) => selected.test(name))) {
  const scores = engines.map(() => ({ cases: 0, visible: 0, strict: 0, cuts: 0, exact: 0 }));
  for (const one of cases) {
    const found = await misses(engines, one, Number(values.cuts));
    for (const [which, { cuts, visible, strict }] of found.entries()) {
      const score = { cases: 1, visible: visible.length ? 0 : 1, strict: strict.length ? 0 : 1, cuts, exact: cuts - strict.length };
      for (const sum of [scores[which], totals[which]]) Object.keys(score).forEach((key) => (sum[key] += score[key]));
    }
    if (values.misses) printMiss(one, found[0]);
  }
  print(name, scores);
}
print('all', totals);

const count = Number(values.resizes);
if (count > 0) {
  const found = await disagreements(ours, recordings, count);
  console.log(`\nviewers that stayed and that came back differ after ${found.length} of ${count} changes of size`);
  if (values.misses) found.forEach((miss) => console.log(`  ${miss}`));
}
for (const engine of engines) engine.close();

function print(group, scores) {
  for (const [which, { cases, visible, strict, cuts, exact }] of scores.entries()) {
    const title = engines.length > 1 ? `${group}, ${engines[which].name}` : group;
    const columns = [percent(visible, cases), percent(strict, cases), String(cuts).padStart(13), percent(exact, cuts)];
    console.log(`${title.padEnd(46)}${String(cases).padStart(5)} ${columns.join(' ')}`);
  }
}

function printMiss({ name }, { visible, strict }) {
  if (strict.length === 0) return;
  const kind = visible.length > 0 ? 'visible' : 'strict';
  console.log(`  ${name} (${kind}): ${(visible[0] ?? strict[0]).slice(0, 3).join('; ')}`);
}

function percent(part, whole) {
  return `${((100 * part) / whole).toFixed(1)} %`.padStart(9);
}
