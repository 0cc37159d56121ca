// Prints the score of each group of the suite: `node report.mjs [--cases N] [--cuts N] [--misses]`.

import { parseArgs } from 'node:util';
import { Engine } from './engine.mjs';
import { groups, misses } from './suite.mjs';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '150' },
    cuts: { type: 'string', default: '50' },
    misses: { type: 'boolean', default: false },
  },
});
const engine = new Engine();
const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`.padStart(9);
const total = { cases: 0, visible: 0, strict: 0 };
console.log(`${'group'.padEnd(36)}cases   visible   strict   comparisons   exact`);

for (const { name, cases } of groups(Number(values.cases))) {
  const score = { visible: 0, strict: 0, cuts: 0, missed: 0 };
  for (const one of cases) {
    const found = await misses(engine, one, Number(values.cuts));
    score.visible += found.visible.length === 0 ? 1 : 0;
    score.strict += found.strict.length === 0 ? 1 : 0;
    score.cuts += found.cuts;
    score.missed += found.strict.length;
    if (values.misses && found.strict.length > 0) console.log(`  ${one.name}: ${found.strict[0].slice(0, 3).join('; ')}`);
  }
  print(name, cases.length, score);
  console.log(`${String(score.cuts).padStart(14)} ${percent(score.cuts - score.missed, score.cuts)}`);
  total.cases += cases.length;
  total.visible += score.visible;
  total.strict += score.strict;
}

print('all', total.cases, total);
console.log();
engine.close();

function print(name, cases, { visible, strict }) {
  process.stdout.write(`${name.padEnd(36)}${String(cases).padStart(5)} ${percent(visible, cases)} ${percent(strict, cases)}`);
}
