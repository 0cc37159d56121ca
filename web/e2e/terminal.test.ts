// A terminal in one page, on the real server.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connected, lines, PHONE, screenshot, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openAgain, openShell, sameText, type } from "./shell";

const fixture = useRejoin();

test("a terminal runs a command", async () => {
  const page = await openShell(fixture);
  await type(page, "printf '%s-%s\\n' one two\r");
  await seeLine(page, /^one-two/);
  await screenshot(page, "real-terminal-dark");
});

test("full-screen programs work", async () => {
  const page = await openShell(fixture);
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
  const one = await openShell(fixture);
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
  // From a file, because the shell's handling of typed characters depends on the locale.
  writeFileSync(join(fixture.server.directory, "table.txt"), `${table.join("\n")}\n`);
  await type(one, "clear; ls --color=always -C; cat table.txt; echo do''ne\r");
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

test("keys typed while disconnected arrive once", async () => {
  const page = await openShell(fixture);
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

test("an ended terminal stays readable", async () => {
  const page = await openShell(fixture);
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
  const page = await openShell(fixture);
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
  const page = await openShell(fixture);
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
