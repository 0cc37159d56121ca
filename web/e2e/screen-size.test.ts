// The size of a screen that several windows share.

import type { Page } from "playwright-core";
import { beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { connected, lines, screenshot, seeLine } from "./browser";
import { usePages } from "./pages-fixture";
import { SAMPLE_OUTPUT } from "./sample-output";

const fixture = usePages();
let session: TestSession;

beforeEach(() => {
  session = fixture.server.createSession({ title: "ada@harbour: ~/tides" });
});

/** Changes the size, as another window does whose user types. */
function resizeElsewhere(cols: number, rows: number): void {
  fixture.server.change(session, { cols, rows, size_owner: "another" });
}

/** Opens the terminal, and breaks its connection at 80×10 after one line. */
async function openAndCut(): Promise<Page> {
  const page = await fixture.openTerminal(session);
  await connected(page);
  resizeElsewhere(80, 10);
  fixture.server.print(session, "left here\r\n");
  await seeLine(page, /^left here/);
  fixture.server.cut();
  return page;
}

test("the size of another window is scaled to fit", async () => {
  const page = await fixture.openTerminal(session);
  fixture.server.print(session, SAMPLE_OUTPUT);
  resizeElsewhere(220, 60);
  fixture.server.print(session, `\x1b[60;210Hcorner`);
  await seeLine(page, /corner$/);
  await page.getByText("220×60").waitFor();
  const fits = () =>
    page.evaluate(() => {
      const drawn = document.querySelector(".xterm-screen")?.getBoundingClientRect();
      const area = document.querySelector(".screen-area")?.getBoundingClientRect();
      return (
        drawn !== undefined &&
        area !== undefined &&
        drawn.right <= area.right &&
        drawn.bottom <= area.bottom
      );
    });

  await expect.poll(fits).toBe(true);

  await screenshot(page, "scaled-dark");
  // Typing takes over the size.
  await page.keyboard.type("k");

  await expect.poll(() => session.info.cols).toBeLessThan(220);

  await page.waitForFunction(
    (cols) => globalThis.rejoin.terminal?.cols === cols,
    session.info.cols,
  );

  expect(await page.evaluate(() => globalThis.rejoin.terminal?.options.fontSize)).toBe(14);
});

test("size changes are ordered with the output", async () => {
  const page = await fixture.openTerminal(session);
  fixture.server.print(session, `\x1b[?7h${"a".repeat(30)}\r\n`);
  resizeElsewhere(10, 5);
  fixture.server.print(session, "b".repeat(20));
  resizeElsewhere(40, 5);
  fixture.server.print(session, "\r\nend");
  await seeLine(page, /^end/);
  // The line with the cursor is not rewrapped, so it shows the width at which it was printed.
  const printed = ["a".repeat(30), "b".repeat(10), "b".repeat(10), "end"];

  expect((await lines(page)).filter(Boolean)).toEqual(printed);
});

test("a resume starts at the previous size", async () => {
  const page = await openAndCut();
  // A cursor sent beyond the last column stays in it, so the text shows the current width.
  const edge = (text: string) => `\x1b[999G\x1b[${text.length - 1}D${text}\r\n`;
  fixture.server.print(session, edge("eighty"));
  resizeElsewhere(100, 10);
  fixture.server.print(session, edge("hundred"));
  resizeElsewhere(80, 10);
  fixture.server.print(session, edge("eighty again"));
  resizeElsewhere(100, 10);
  fixture.server.print(session, `${edge("hundred again")}end`);
  await seeLine(page, /^end/);
  const ends = (await lines(page)).map((line) => [line.length, line.trim()]);

  expect(ends).toEqual([
    [9, "left here"],
    [80, "eighty"],
    // Wrapped to two lines at 80 columns, and unwrapped at 100.
    [100, "hundred"],
    [80, "eighty again"],
    [100, "hundred again"],
    [3, "end"],
  ]);
  expect(await page.evaluate(() => globalThis.rejoin.terminal?.cols)).toBe(100);
});

test("a snapshot has the current size", async () => {
  const page = await openAndCut();
  session.epoch = "2";
  resizeElsewhere(100, 10);
  fixture.server.print(session, "\x1b[2;999Hx");
  await seeLine(page, /x$/);

  expect((await lines(page)).map((line) => line.length)).toEqual([9, 100]);
});
