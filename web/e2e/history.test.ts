// The lines above the screen, on the real server.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { lines, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openAgain, openShell, type } from "./shell";

const fixture = useRejoin();

/** Returns the numbers of the numbered lines in the scrollback and on the screen. */
async function numbers(page: Page): Promise<number[]> {
  const matches = (await lines(page)).map((line) => /^line (\d+)$/.exec(line));
  return matches.filter((match) => match !== null).map((match) => Number(match[1]));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** Returns the first visible line. */
function firstVisible(page: Page): Promise<string | undefined> {
  return page.evaluate(() => {
    const buffer = globalThis.rejoin.terminal?.buffer.active;
    return buffer?.getLine(buffer.viewportY)?.translateToString(true);
  });
}

/** Scrolls to the top until all lines are loaded. */
async function loadAll(page: Page, first: number): Promise<void> {
  const load = async () => {
    await page.evaluate(() => globalThis.rejoin.terminal?.scrollToTop());
    return (await numbers(page))[0];
  };
  await expect.poll(load).toBe(first);
}

test("scrolling up loads each older line once", async () => {
  const one = await openShell(fixture);
  await type(one, "seq -f 'line %.0f' 1 3000; echo do''ne\r");
  await seeLine(one, /^done/);

  const other = await openAgain(one);
  await seeLine(other, /^done/);
  // The first page follows the screen at once.
  await expect.poll(async () => (await numbers(other)).length).toBeGreaterThan(100);
  expect((await numbers(other)).length).toBeLessThan(1000);

  await loadAll(other, 1);
  expect(await numbers(other)).toEqual(range(1, 3000));
});

test("loading keeps the visible lines while output goes on", async () => {
  const one = await openShell(fixture);
  await type(one, "seq -f 'line %.0f' 1 2000; echo do''ne\r");
  await seeLine(one, /^done/);

  const other = await openAgain(one);
  await seeLine(other, /^done/);
  await expect.poll(async () => (await numbers(other)).length).toBeGreaterThan(100);
  await type(one, "for i in $(seq 2001 3000); do echo line $i; done; echo e''nd\r");

  // Read at once, before the scrolling loads a page.
  const visible = await other.evaluate(() => {
    const terminal = globalThis.rejoin.terminal;
    terminal?.scrollToLine(20);
    return terminal?.buffer.active.getLine(20)?.translateToString(true);
  });
  expect(visible).toMatch(/^line \d+$/);
  await expect.poll(async () => (await numbers(other)).length).toBeGreaterThan(600);
  expect(await firstVisible(other)).toBe(visible);

  await seeLine(other, /^end/);
  await loadAll(other, 1);
  expect(await numbers(other)).toEqual(range(1, 3000));
});

test("a resize keeps the position in the history", async () => {
  const one = await openShell(fixture);
  await type(one, "seq -f 'line %.0f' 1 2000; echo do''ne\r");
  await seeLine(one, /^done/);
  await one.evaluate(() => globalThis.rejoin.terminal?.scrollLines(-700));
  const visible = await firstVisible(one);
  expect(visible).toMatch(/^line \d+$/);

  // Narrower: the server rewraps all lines, and sends the screen alone.
  const columns = () => one.evaluate(() => globalThis.rejoin.terminal?.cols ?? 0);
  const before = await columns();
  await one.setViewportSize({ width: 900, height: 720 });
  await expect.poll(columns).toBeLessThan(before);
  await expect.poll(() => firstVisible(one)).toBe(visible);

  await loadAll(one, 1);
  expect(await numbers(one)).toEqual(range(1, 2000));
});

test("loaded lines keep their colours and links", async () => {
  const one = await openShell(fixture);
  const link = "\\\\e]8;;https://example.org/tides\\\\atide\\\\e]8;;\\\\a";
  await type(one, `printf "\\\\e[1;31mred\\\\e[m ${link}\\\\n"; seq 1 300; echo do''ne\r`);
  await seeLine(one, /^done/);

  const other = await openAgain(one);
  await seeLine(other, /^done/);
  await other.evaluate(() => globalThis.rejoin.terminal?.scrollToTop());
  await seeLine(other, /^red tide/);
  const cell = () => {
    const buffer = globalThis.rejoin.terminal?.buffer.active;
    for (let at = 0; buffer !== undefined && at < buffer.length; at++) {
      const line = buffer.getLine(at);
      if (!line?.translateToString(true).startsWith("red tide")) continue;

      const red = line.getCell(0);
      const linked = line.getCell(4) as unknown as { extended: { urlId: number } };
      const core = (globalThis.rejoin.terminal as unknown as { _core: any })._core;
      const uri = core._oscLinkService.getLinkData(linked.extended.urlId)?.uri;
      return { colour: red?.getFgColor(), bold: red?.isBold() !== 0, uri };
    }

    return null;
  };
  expect(await other.evaluate(cell)).toEqual({
    colour: 1,
    bold: true,
    uri: "https://example.org/tides",
  });
});
