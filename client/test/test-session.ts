// A terminal session of the test server.

import type { SessionChange, SessionInfo } from "../src/messages.js";

/** A session whose output is a byte string. Tests print to it. */
export class TestSession {
  readonly info: SessionInfo;
  output = Buffer.alloc(0);
  input = "";
  epoch = "1";
  sizeOwner: string | null = null;
  /** Changes, each with the offset of the output that follows it. */
  readonly changes: { offset: number; payload: SessionChange }[] = [];
  readonly writers = new Map<string, number>();

  constructor(info: SessionInfo) {
    this.info = info;
  }

  /** Replays the output after an offset, with the changes in order. */
  replay(
    from: number,
    print: (at: number, bytes: Buffer<ArrayBuffer>) => void,
    send: (message: { type: "session"; payload: SessionChange }) => void,
  ): void {
    let at = from;
    const printTo = (end: number) => {
      if (at < end) print(at, this.output.subarray(at, end));
      at = end;
    };
    for (const { offset, payload } of this.changes.filter(({ offset }) => offset >= from)) {
      printTo(offset);
      send({ type: "session", payload });
    }

    printTo(this.output.length);
  }
}

/** An attachment of a connection. */
export interface Reader {
  session: TestSession;
  stream: number;
  writer: string;
  role: string;
  cols: number;
  rows: number;
}
