// The shared headless browser, and helpers that read its pages.

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type BrowserServer,
  chromium,
  type Page,
} from "playwright-core";
import { inject } from "vitest";

/** The headless shell first: without the windows of Chromium, it needs half the CPU time. */
const EXECUTABLES = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"];
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Tests run in parallel pages: pages in the background must not be throttled.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
];
const RESULTS = fileURLToPath(new URL("../test-results/", import.meta.url));

/** The options of a phone's page. */
export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 780 },
  hasTouch: true,
  isMobile: true,
  deviceScaleFactor: 2,
};

/** Starts the browser that all test files share: `$CHROMIUM`, or an installed one. */
export function startBrowser(): Promise<BrowserServer> {
  const executablePath = process.env.CHROMIUM ?? EXECUTABLES.find((path) => existsSync(path));
  if (executablePath === undefined) {
    throw new Error("There is no Chromium. Install it, or set CHROMIUM to its path.");
  }

  return chromium.launchServer({ executablePath, args: ARGUMENTS });
}

let connection: Promise<Browser> | undefined;

/** Opens a browser context with its own storage. */
export async function openContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  // One connection per worker; it ends with the worker.
  connection ??= chromium.connect(inject("browserEndpoint"));
  const browser = await connection;

  return browser.newContext({
    viewport: { width: 1180, height: 720 },
    colorScheme: "dark",
    ...options,
  });
}

/** Saves a screenshot to `test-results`. */
export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(RESULTS, { recursive: true });
  await page.screenshot({ path: join(RESULTS, `${name}.png`) });
}

/** Saves screenshots of the open pages of a failed test. */
export async function screenshotFailure(pages: Page[], testName: string): Promise<void> {
  const name = testName.replaceAll(/\W+/g, "-");
  for (const [index, page] of pages.entries()) {
    await screenshot(page, `failed-${index + 1}-${name}`);
  }
}

/** Returns all lines of the terminal (scrollback and screen) without trailing empty ones. */
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

      const expected = new RegExp(source, flags);
      // Starts at the end, because the expected line is new.
      for (let at = buffer.length - 1; at >= 0; at--) {
        if (expected.test(buffer.getLine(at)?.translateToString(true) ?? "")) return true;
      }

      return false;
    },
    { source: pattern.source, flags: pattern.flags },
    { polling: 50 },
  );
}

/** Starts a login shell from the page. */
export async function newTerminal(page: Page): Promise<void> {
  await page.locator(".placeholder, .sidebar-head").getByText("New terminal").first().click();
  await page.getByRole("button", { name: "terminal", exact: true }).first().click();
}

/** Waits until the page is connected. */
export async function connected(page: Page): Promise<void> {
  const status = page.getByRole("status").getByText("Connected", { exact: true });
  await status.waitFor({ state: "attached" });
}

/** Opens a login link and confirms it, unless its user is already logged in. */
export async function openLoginLink(page: Page, link: string): Promise<void> {
  await page.goto(link);
  const confirm = page.getByRole("dialog").getByRole("button", { name: "Log in as" });
  const isLoggedIn = page.locator(".sidebar-foot").getByText("Log out");
  await confirm.or(isLoggedIn).first().waitFor({ state: "attached" });
  if (await confirm.isVisible()) await confirm.click();
}

/** Changes the page's route without a reload. */
export async function goTo(page: Page, fragment: string): Promise<void> {
  await page.evaluate((hash) => location.assign(hash), fragment);
}
