// A terminal of the test server: a byte string that tests print to.

import type { SessionChange, SessionInfo } from "../src/messages.js";

export class TestSession {
  readonly info: SessionInfo;
  output = Buffer.alloc(0);
  input = "";
  epoch = "1";
  sizeOwner: string | null = null;
  /** What changed, and before which byte of the output. */
  readonly changes: { offset: number; payload: SessionChange }[] = [];
  readonly writers = new Map<string, number>();

  constructor(info: SessionInfo) {
    this.info = info;
  }

  /** The output from there on, with the changes where they came. */
  replay(
    from: number,
    print: (at: number, bytes: Buffer<ArrayBuffer>) => void,
    say: (message: { type: "session"; payload: SessionChange }) => void,
  ): void {
    let at = from;
    const printTo = (end: number) => {
      if (at < end) print(at, this.output.subarray(at, end));
      at = end;
    };
    for (const { offset, payload } of this.changes.filter(({ offset }) => offset >= from)) {
      printTo(offset);
      say({ type: "session", payload });
    }
    printTo(this.output.length);
  }
}

export interface Reader {
  session: TestSession;
  stream: number;
  writer: string;
  role: string;
  cols: number;
  rows: number;
}
