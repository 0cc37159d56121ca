// Snapshots from terminal engines: ours from the crate's example program, others from `engines/` or npm.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const OURS = 'cargo run --quiet -p rejoin-screen --release --example snapshot';

/** An engine in a program that reads requests and writes snapshots, by default the one in `ENGINE` or ours. */
export class Engine {
  name;
  #process;
  #lines;

  constructor(name = 'rejoin-screen', command = process.env.ENGINE ?? OURS) {
    this.name = name;
    const [program, ...args] = command.split(' ');
    this.#process = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /**
   * Returns the snapshots of a screen, one for each step that is `null`. The other steps are output, or new
   * sizes as [cols, rows].
   */
  async snapshots({ cols, rows, steps, history }) {
    const request = { cols, rows, steps: steps.map((step) => (step === null || Array.isArray(step) ? step : hex(step))), history };
    this.#process.stdin.write(JSON.stringify(request) + '\n');
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the program of the engine ${this.name} ended`);
    return JSON.parse(value).map((snapshot) => Buffer.from(snapshot, 'hex'));
  }

  /** Returns the snapshot of a screen after `steps`. */
  async snapshot({ steps, ...rest }) {
    const [snapshot] = await this.snapshots({ ...rest, steps: [...steps, null] });
    return snapshot;
  }

  close() {
    this.#process.stdin.end();
  }
}

function hex(bytes) {
  return Buffer.from(bytes).toString('hex');
}
