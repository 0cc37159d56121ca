// A page whose renderer is stuck, on the real server.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { connected, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openShell, sameText, type } from "./shell";

/** The most bytes that a stuck renderer may cost. */
const MAX_BYTES = 256_000;

declare global {
  /** Lets the stuck renderer continue. */
  var wake: () => void;
}

const fixture = useRejoin();

/** Makes xterm.js keep its input unparsed, as in a frozen tab. */
function freeze(page: Page): Promise<void> {
  return page.evaluate(() => {
    const { terminal } = globalThis.rejoin;
    if (terminal === null) throw new Error("There is no terminal.");

    const write = terminal.write.bind(terminal);
    const kept: Parameters<typeof write>[] = [];
    terminal.write = (...input) => kept.push(input);
    globalThis.wake = () => {
      terminal.write = write;
      for (const input of kept) write(...input);
    };
  });
}

test("a stuck renderer costs one window, then shows the screen", async () => {
  const one = await openShell(fixture);
  const stuck = await one.context().newPage();
  let received = 0;
  stuck.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => {
      received += payload.length;
    }),
  );
  await stuck.goto(one.url());
  await connected(stuck);
  await seeLine(stuck, /^ready/);

  await freeze(stuck);
  received = 0;
  await type(one, "seq 1 600000; echo do''ne\r");
  await seeLine(one, /^done/);
  // The prompt after the output reaches the other page, and not this one.
  await seeLine(one, /^> $/);
  expect(received).toBeGreaterThan(MAX_BYTES / 4);
  expect(received).toBeLessThan(MAX_BYTES);

  await stuck.evaluate(() => globalThis.wake());
  await seeLine(stuck, /^done/);
  await type(one, "echo la''st\r");
  await seeLine(stuck, /^last/);
  // The screen and the page of history that follows it, not four megabytes.
  expect(received).toBeLessThan(2 * MAX_BYTES);

  for (const page of [one, stuck]) {
    const load = async () => {
      await page.evaluate(() => globalThis.rejoin.terminal?.scrollToTop());
      return page.evaluate(() => globalThis.rejoin.terminal?.buffer.active.length);
    };
    await expect.poll(load).toBeGreaterThan(10_000);
  }
  await sameText(one, stuck);
});
