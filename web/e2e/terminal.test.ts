// Terminals in real pages, on the real server.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { connected, lines, newTerminal, PHONE, screenshot, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";

/** The scrollback of a page. */
const SCROLLBACK_LINES = 10_000;

const fixture = useRejoin();

/** Opens a page with a shell that is ready. */
async function openTerminal(): Promise<Page> {
  const page = await fixture.logIn();
  await newTerminal(page);
  await page.locator(".xterm-screen").waitFor();
  await type(page, "PS1='> '; clear; echo rea''dy\r");
  await seeLine(page, /^ready/);
  return page;
}

/** Opens the same terminal in another tab. */
async function openAgain(page: Page): Promise<Page> {
  const again = await page.context().newPage();
  await again.goto(page.url());
  await connected(again);
  await again.locator(".xterm-screen").waitFor();
  return again;
}

async function type(page: Page, text: string): Promise<void> {
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(text);
}

/** Waits until both terminals have the same lines. */
async function sameText(one: Page, other: Page): Promise<void> {
  const differences = async () => {
    const [text, otherText] = await Promise.all([lines(one), lines(other)]);
    const length = Math.max(text.length, otherText.length);
    const pairs = Array.from({ length }, (_, at) => [text[at], otherText[at]]);
    return pairs.filter(([line, otherLine]) => line !== otherLine);
  };
  await expect.poll(differences, { timeout: 10_000 }).toEqual([]);
}

test("a terminal runs a command", async () => {
  const page = await openTerminal();
  await type(page, "printf '%s-%s\\n' one two\r");
  await seeLine(page, /^one-two/);
  await screenshot(page, "real-terminal-dark");
});

test("full-screen programs work", async () => {
  const page = await openTerminal();
  await type(page, "vim -u NONE -N letter.txt\r");
  await seeLine(page, /letter\.txt/);
  await type(page, "iDear reader,");
  await seeLine(page, /^Dear reader,/);
  await screenshot(page, "vim-dark");
  await page.keyboard.press("Escape");
  await type(page, ":wq\r");
  await type(page, "clear; cat letter.txt | tr a-z A-Z\r");
  await seeLine(page, /^DEAR READER,/);
  await type(page, "seq 1 5000 | less\r");
  await seeLine(page, /^:/);
  await type(page, "G");
  await seeLine(page, /^5000/);
  await screenshot(page, "less-dark");
  await type(page, "q");
  await type(page, "echo ba''ck\r");
  await seeLine(page, /^back/);
});

test("boxes and wide characters keep their columns when restored", async () => {
  const one = await openTerminal();
  // As escapes, because the shell's handling of typed characters depends on the locale.
  const print = (text: string) => {
    const bytes = [...new TextEncoder().encode(text)].map((byte) => `\\x${byte.toString(16)}`);
    return `printf '${bytes.join("")}'`;
  };
  const table = [
    "┌────────────┬────────────┐",
    "│ 日本語     │ 한국어     │",
    "│ ünïcödé    │ e\u0301a\u0308o\u0302        │",
    "│ 🦀 🚀 ✅   │ ▁▂▃▄▅▆▇█   │",
    "╰────────────┴────────────╯",
  ];
  await type(
    one,
    "mkdir -p charts stations tide-tables; touch run.sh harbour.csv; chmod +x run.sh; ln -sf run.sh go\r",
  );
  await type(one, `clear; ls --color=always -C; ${print(`${table.join("\n")}\n`)}; echo do''ne\r`);
  await seeLine(one, /^done/);
  await screenshot(one, "unicode-dark");
  const columns = () => {
    const buffer = globalThis.rejoin.terminal?.buffer.active;
    const found: number[][] = [];
    for (let at = 0; buffer !== undefined && at < buffer.length; at++) {
      const line = buffer.getLine(at);
      const cells = Array.from({ length: 30 }, (_, x) => x).filter(
        (x) => line?.getCell(x)?.getChars() === "│",
      );
      if (cells.length > 0) found.push(cells);
    }

    return found;
  };

  expect(await one.evaluate(columns)).toEqual(Array(3).fill([0, 13, 26]));

  const other = await openAgain(one);
  await seeLine(other, /^done/);
  expect(await other.evaluate(columns)).toEqual(Array(3).fill([0, 13, 26]));

  await sameText(one, other);
});

test("a second tab shows the same and can type", async () => {
  const one = await openTerminal();
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
  const one = await openTerminal();
  const other = await openAgain(one);
  await seeLine(other, /^ready/);
  // Both pages lose the connection within the output.
  fixture.proxy.cutAfter(100_000);
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
    expect(await lines(page)).toEqual([...tail, "done", "> "]);
  }
});

test("keys typed while disconnected arrive once", async () => {
  const page = await openTerminal();
  fixture.proxy.cut();
  await page.getByText("Reconnecting").waitFor();
  await type(page, "echo typed-off''line\r");
  fixture.proxy.mend();
  await page
    .getByRole("button", { name: "Retry" })
    .click({ timeout: 1_000 })
    .catch(() => {});
  await seeLine(page, /^typed-offline/);

  expect((await lines(page)).filter((line) => /^typed-offline/.test(line))).toHaveLength(1);
});

test("a program's query gets one answer", async () => {
  const one = await openTerminal();
  const other = await openAgain(one);
  await seeLine(other, /^ready/);
  const ask = "printf '\\e[6n'; IFS= read -rs -d R -t 5 a; printf 'answer %q\\n' \"$a\"; ";
  await type(one, `clear; ${ask} IFS= read -rs -t 1 -n 1 b && echo an''other || echo no''more\r`);
  // The terminal echoes an answer that arrives before `read` runs.
  await seeLine(one, /answer \$'\\E\[\d+;\d+'/);
  await seeLine(one, /^nomore/);
});

test("the last typist sets the size", async () => {
  const one = await openTerminal();
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

test("an ended terminal stays readable", async () => {
  const page = await openTerminal();
  await type(page, "echo last wo''rds; exit 7\r");
  await page.locator(".note").getByText("exited with code 7").waitFor();
  await page.reload();
  await seeLine(page, /^last words/);
  await page.locator(".note").getByText("exited with code 7").waitFor();
  await screenshot(page, "real-ended-dark");
  await page.getByRole("button", { name: /^Remove/ }).click();
  await page.getByText("You have no terminals yet.").waitFor();
});

test("a user can log out and in again", async () => {
  const page = await openTerminal();
  const address = page.url();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await page.getByLabel("Token or login link").fill("not-a-token");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator(".reason").getByText(/\w/).waitFor();
  await page.getByLabel("Token or login link").fill(fixture.token);
  await page.getByRole("button", { name: "Log in" }).click();
  await connected(page);

  expect(page.url()).toBe(address);

  await seeLine(page, /^ready/);
});

test("a terminal in light and on a phone", async () => {
  const page = await openTerminal();
  await type(page, "ls -C --color=always /usr; git --version\r");
  await seeLine(page, /^git version/);
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "real-terminal-light");
  const fragment = new URL(page.url()).hash;
  await page.close();
  const phone = await fixture.logIn(fragment, PHONE);
  await seeLine(phone, /^git version/);
  await screenshot(phone, "real-phone-dark");
});
