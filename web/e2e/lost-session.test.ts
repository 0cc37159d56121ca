// A terminal whose program was lost, on the real server.

import { readdirSync, readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { goTo, PHONE, screenshot, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openShell, type } from "./shell";

const fixture = useRejoin();

/** Returns the id of the open session. */
const openId = (page: Page) => new URL(page.url()).hash.replace("#/s/", "");

/** Kills the keeper of a session, as a restart of the machine would. */
function killKeeper(session: string): void {
  const title = `rejoin: keeper ${session}\0`;
  const pid = readdirSync("/proc").find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").startsWith(title);
    } catch {
      // It has ended.
      return false;
    }
  });
  process.kill(Number(pid), "SIGKILL");
}

test("a lost terminal keeps its screen and starts again", async () => {
  const page = await openShell(fixture);
  const lost = openId(page);
  await type(page, "echo be''fore\r");
  await seeLine(page, /^before/);
  killKeeper(lost);

  const again = page.getByRole("button", { name: "Start again" });
  await again.waitFor();
  await page.getByText("The program was lost: its keeper").waitFor();
  await page.locator(".note").getByText("lost", { exact: true }).waitFor();
  await screenshot(page, "lost-dark");
  const phone = await fixture.logIn(`#/s/${lost}`, PHONE);
  await phone.getByRole("button", { name: "Start again" }).waitFor();
  await seeLine(phone, /^before/);
  await screenshot(phone, "lost-phone-dark");

  await again.click();
  await expect.poll(() => openId(page)).not.toBe(lost);
  await type(page, "echo a''fter\r");
  await seeLine(page, /^after/);
  await page.getByText("started again").waitFor();
  await screenshot(page, "started-again-dark");

  // Other devices find the new terminal.
  await phone.getByRole("button", { name: "Open the new terminal" }).tap();
  await seeLine(phone, /^after/);
  expect(openId(phone)).toBe(openId(page));

  await goTo(page, `#/s/${lost}`);
  await seeLine(page, /^before/);
});
