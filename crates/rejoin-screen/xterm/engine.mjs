// Snapshots from the crate's example program.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Engine {
  #process;
  #lines;

  constructor() {
    const args = ['run', '--quiet', '-p', 'rejoin-screen', '--release', '--example', 'snapshot'];
    this.#process = spawn('cargo', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Returns the snapshot of a screen that is fed `output`, resized, and fed `then`. */
  async snapshot({ cols, rows, output, resize, then = Buffer.alloc(0), history }) {
    const request = { cols, rows, output: hex(output), resize, then: hex(then), history };
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
