// A terminal in several tabs, on the real server.

import { expect, test } from "vitest";
import { connected, lines, screenshot, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openAgain, openShell, sameText, type } from "./shell";

/** The scrollback of a page. */
const SCROLLBACK_LINES = 10_000;

const fixture = useRejoin();

test("a second tab shows the same and can type", async () => {
  const one = await openShell(fixture);
  await type(one, "echo fi''rst\r");
  await seeLine(one, /^first/);
  const other = await openAgain(one);
  await seeLine(other, /^first/);
  await type(other, "echo sec''ond\r");
  await seeLine(one, /^second/);
  await type(one, "echo th''ird\r");
  await seeLine(other, /^third/);
  await sameText(one, other);
  await type(one, "vim -u NONE -N\r");
  await seeLine(one, /^~/);
  await type(one, "iwritten in one");
  await seeLine(other, /^written in one/);
  const third = await openAgain(one);
  await seeLine(third, /^written in one/);
  await sameText(one, third);
  await type(third, " and in another");
  await seeLine(one, /^written in one and in another/);
  await sameText(one, other);
});

test("no output is lost when the connection breaks", async () => {
  const one = await openShell(fixture);
  const other = await openAgain(one);
  await seeLine(other, /^ready/);
  // Both pages lose the connection within the first output that the server sends ahead.
  fixture.proxy.cutAfter(20_000);
  await type(one, "seq 1 200000; echo do''ne\r");
  await one.getByText("Reconnecting").waitFor();
  await other.getByText("Reconnecting").waitFor();

  expect(await lines(one)).not.toContain("done");
  expect(await lines(other)).not.toContain("done");

  fixture.proxy.mend();
  for (const page of [one, other]) {
    // The page may have reconnected already.
    await page
      .getByRole("button", { name: "Retry" })
      .click({ timeout: 1_000 })
      .catch(() => {});
    await connected(page);
    await seeLine(page, /^done/);
  }

  const rows = await one.evaluate(() => globalThis.rejoin.terminal?.rows ?? 0);
  const numbers = SCROLLBACK_LINES + rows - 2;
  const tail = Array.from({ length: numbers }, (_, at) => String(200_000 - numbers + 1 + at));
  for (const page of [one, other]) {
    await seeLine(page, /^> $/);
    // A page that got a snapshot loads the lines above it.
    const load = async () => {
      await page.evaluate(() => globalThis.rejoin.terminal?.scrollToTop());
      return lines(page);
    };
    await expect.poll(load, { timeout: 30_000 }).toEqual([...tail, "done", "> "]);
  }
});

test("a program's query gets one answer", async () => {
  const one = await openShell(fixture);
  const other = await openAgain(one);
  await seeLine(other, /^ready/);
  const ask = "printf '\\e[6n'; IFS= read -rs -d R -t 5 a; printf 'answer %q\\n' \"$a\"; ";
  await type(one, `clear; ${ask} IFS= read -rs -t 1 -n 1 b && echo an''other || echo no''more\r`);
  // The terminal echoes an answer that arrives before `read` runs.
  await seeLine(one, /answer \$'\\E\[\d+;\d+'/);
  await seeLine(one, /^nomore/);
});

test("the last writer sets the size", async () => {
  const one = await openShell(fixture);
  const other = await openAgain(one);
  const size = () => globalThis.rejoin.terminal?.cols;
  const large = await one.evaluate(size);
  await other.setViewportSize({ width: 700, height: 500 });
  await type(other, "clear; echo sm''all\r");
  await other.waitForFunction((before) => globalThis.rejoin.terminal?.cols !== before, large);
  const small = await other.evaluate(size);

  expect(small).toBeLessThan(large ?? 0);

  await one.waitForFunction((expected) => globalThis.rejoin.terminal?.cols === expected, small);
  await one.locator(".note").getByText(`${small}×`).waitFor();
  await screenshot(one, "two-sizes-smaller-dark");
  await type(one, "clear; echo la''rge\r");
  await other.waitForFunction((expected) => globalThis.rejoin.terminal?.cols === expected, large);
  await other.locator(".note").getByText(`${large}×`).waitFor();
  await type(one, "clear; stty size; seq -s ' ' 1 200\r");
  await seeLine(other, new RegExp(`^\\d+ ${large}$`));
  await seeLine(other, / 200$/);
  await sameText(one, other);
  await screenshot(one, "two-sizes-owner-dark");
  await screenshot(other, "two-sizes-scaled-dark");
});
