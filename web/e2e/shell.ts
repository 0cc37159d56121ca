// Shells in pages, on the real server.

import type { Page } from "playwright-core";
import { expect } from "vitest";
import { connected, lines, newTerminal, seeLine } from "./browser";
import type { RejoinFixture } from "./rejoin-fixture";

/** Opens a page with a shell that is ready. */
export async function openShell(fixture: RejoinFixture): Promise<Page> {
  const page = await fixture.logIn();
  await newTerminal(page);
  await page.locator(".xterm-screen").waitFor();
  await type(page, "PS1='> '; clear; echo rea''dy\r");
  await seeLine(page, /^ready/);
  return page;
}

/** Opens the same terminal in another tab. */
export async function openAgain(page: Page): Promise<Page> {
  const again = await page.context().newPage();
  await again.goto(page.url());
  await connected(again);
  await again.locator(".xterm-screen").waitFor();
  return again;
}

/** Types into the terminal. */
export async function type(page: Page, text: string): Promise<void> {
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(text);
}

/** Waits until both terminals have the same lines. */
export async function sameText(one: Page, other: Page): Promise<void> {
  const differences = async () => {
    const [text, otherText] = await Promise.all([lines(one), lines(other)]);
    const length = Math.max(text.length, otherText.length);
    const pairs = Array.from({ length }, (_, at) => [text[at], otherText[at]]);
    return pairs.filter(([line, otherLine]) => line !== otherLine);
  };
  await expect.poll(differences).toEqual([]);
}
