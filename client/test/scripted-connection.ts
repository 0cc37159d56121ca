// Tests with a connection over scripted sockets and a clock that stands still.

import { test as base, vi } from "vitest";
import type { Connection } from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";

/** A test with an authenticated connection. */
export const test = base.extend<{ connection: Connection }>({
  connection: [
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads the dependencies from the pattern.
    async ({}, use) => {
      vi.useFakeTimers();
      vi.spyOn(Math, "random").mockReturnValue(0.5);
      const connection = await connectScripted();
      ScriptedSocket.last.accept();

      await use(connection);

      connection.close();
      vi.useRealTimers();
      vi.restoreAllMocks();
    },
    { auto: true },
  ],
});
