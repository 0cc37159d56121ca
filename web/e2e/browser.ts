// A headless browser, and what tests read from its pages.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const EXECUTABLE = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A second page must not be slowed down for being in the background.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
];
const RESULTS = fileURLToPath(new URL("../test-results/", import.meta.url));

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
}

/** Windows that share their storage with each other and with nobody else. */
export function openContext(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  return browser.newContext({ viewport: { width: 1180, height: 720 }, colorScheme: "dark", ...options });
}

export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(RESULTS, { recursive: true });
  await page.screenshot({ path: join(RESULTS, `${name}.png`) });
}

/** All lines of the terminal: scrollback and screen, without the blanks at the end. */
export function lines(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const buffer = globalThis.rejoin.terminal?.buffer.active;
    const text: string[] = [];
    for (let at = 0; buffer !== undefined && at < buffer.length; at++) {
      text.push(buffer.getLine(at)?.translateToString(true) ?? "");
    }
    while (text.at(-1) === "") text.pop();
    return text;
  });
}

/** Waits until a line of the terminal matches. */
export async function seeLine(page: Page, pattern: RegExp): Promise<void> {
  await page.waitForFunction(
    ({ source, flags }) => {
      const buffer = globalThis.rejoin?.terminal?.buffer.active;
      if (!buffer) return false;
      const wanted = new RegExp(source, flags);
      // From the end: what is waited for is new.
      for (let at = buffer.length - 1; at >= 0; at--) {
        if (wanted.test(buffer.getLine(at)?.translateToString(true) ?? "")) return true;
      }
      return false;
    },
    { source: pattern.source, flags: pattern.flags },
    { polling: 50 },
  );
}

/** Starts the login shell. */
export async function newTerminal(page: Page): Promise<void> {
  await page.locator(".nothing, .sidebar-head").getByText("New terminal").first().click();
  await page.getByRole("button", { name: "terminal", exact: true }).first().click();
}

export async function connected(page: Page): Promise<void> {
  await page.getByRole("status").getByText("Connected", { exact: true }).waitFor({ state: "attached" });
}
