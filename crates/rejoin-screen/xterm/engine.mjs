// Snapshots from the crate's example program, or from the program in `ENGINE`.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Engine {
  #process;
  #lines;

  constructor() {
    const cargo = 'cargo run --quiet -p rejoin-screen --release --example snapshot';
    const [program, ...args] = (process.env.ENGINE ?? cargo).split(' ');
    this.#process = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Returns the snapshot of a screen after `steps`: output, or new sizes as [cols, rows]. */
  async snapshot({ cols, rows, steps, history }) {
    const request = { cols, rows, steps: steps.map((step) => (Array.isArray(step) ? step : hex(step))), history };
    this.#process.stdin.write(JSON.stringify(request) + '\n');
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the example program `snapshot` ended');
    return Buffer.from(value, 'hex');
  }

  close() {
    this.#process.stdin.end();
  }
}

function hex(bytes) {
  return Buffer.from(bytes).toString('hex');
}
