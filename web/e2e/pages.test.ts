// The pages in states that a real server is hard to bring into.

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { QUERIES } from "../test/query-samples";
import { connected, lines, openBrowser, openContext, screenshot, seeLine } from "./browser";
import { type PagesServer, servePages } from "./pages-server";

const SAMPLE = [
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ git log --oneline --graph -6\r\n",
  "* \x1b[33m4be21f0\x1b[m\x1b[33m (\x1b[1;36mHEAD\x1b[m\x1b[33m -> \x1b[1;32mmain\x1b[m\x1b[33m)\x1b[m Round heights to centimetres\r\n",
  "* \x1b[33m9c0d7a2\x1b[m Read stations from a file\r\n",
  "*   \x1b[33m07fe3b8\x1b[m Merge the harmonic tables\r\n",
  "\x1b[31m|\x1b[m\x1b[32m\\\x1b[m\r\n",
  "\x1b[31m|\x1b[m * \x1b[33mb3314cd\x1b[m Add the lunar constituents\r\n",
  "* \x1b[32m|\x1b[m \x1b[33m52ae910\x1b[m Print times in UTC\r\n",
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ make test\r\n",
  "\x1b[1mrunning 14 tests\x1b[0m  ",
  ...["\x1b[31m■", "\x1b[33m■", "\x1b[32m■", "\x1b[36m■", "\x1b[34m■", "\x1b[35m■", "\x1b[90m■", "\x1b[37m■"],
  "\x1b[0m\r\ntest \x1b[36mspring_tide\x1b[0m ... \x1b[32mok\x1b[0m\r\n",
  "test \x1b[36mneap_tide\x1b[0m ... \x1b[31mFAILED\x1b[0m  ─┤ é ✓ ├─  https://example.org/tides\r\n",
  "┌──────────┬───────┐\r\n│ station  │ level │\r\n├──────────┼───────┤\r\n│ harbour  │ 2.31  │\r\n└──────────┴───────┘\r\n",
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ ",
].join("");

let browser: Browser;
let pages: PagesServer;
let context: BrowserContext;
let session: TestSession;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  pages = await servePages();
  session = pages.server.createSession({ title: "ada@harbour: ~/tides" });
  context = await openContext(browser);
});
afterEach(async () => {
  await context.close();
  await pages.server.stop();
});

async function logIn(fragment = ""): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  if (fragment !== "") await page.evaluate((hash) => location.assign(hash), fragment);
  return page;
}

async function openTerminal(): Promise<Page> {
  const page = await logIn(`#/s/${session.info.id}`);
  await page.locator(".xterm-screen").waitFor();
  return page;
}

/** A window onto the same session that typed last. */
async function anotherOwner(cols: number, rows: number): Promise<void> {
  pages.server.change(session, { cols, rows, size_owner: "another" });
}

test("a login link is removed from the address", async () => {
  const page = await logIn();
  expect(page.url()).toBe(pages.home);
  await page.getByText("No terminal is open here.").waitFor();
  await page.reload();
  await connected(page);
});

test("the login page explains how to get a link", async () => {
  const page = await context.newPage();
  await page.goto(pages.home);
  await page.getByText("rejoin token --link").waitFor();
  await screenshot(page, "log-in-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "log-in-light");
  await page.getByLabel("Token or log-in link").fill("expired");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("The token has expired.").waitFor();
  await page.getByLabel("Token or log-in link").fill(`${pages.home}#login=good`);
  await page.getByRole("button", { name: "Log in" }).click();
  await connected(page);
});

test("a terminal shows output and takes input", async () => {
  pages.server.print(session, SAMPLE);
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  expect(await page.title()).toBe("ada@harbour: ~/tides");
  await page.keyboard.type("tide 3\r");
  await seeLine(page, /\$ tide 3/);
  expect(session.input).toBe("tide 3\r");
});

test("the terminal page in dark and light", async () => {
  pages.server.print(session, SAMPLE);
  const day = 86_400_000;
  const now = Date.now();
  const add = pages.server.createSession.bind(pages.server);
  add({ title: "agent: sea level plan", profile: "claude", connections: 2, created_at: now - 3 * 3_600_000 });
  add({ name: "watching the build", status: "idle", created_at: now - day });
  add({ title: "make release", status: "terminated", exit: { code: 2, signal: null }, last_activity_at: now - 240_000 });
  add({ title: "python3 -i a-rather-long-name-of-a-script.py", status: "idle", created_at: now - 5 * day });
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  await page.getByText("make release").waitFor();
  await screenshot(page, "terminal-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "terminal-light");
  await page.getByRole("button", { name: "Close ada@harbour" }).click();
  await page.getByRole("dialog").waitFor();
  await screenshot(page, "close-light");
});

test("the list is a drawer on a phone", async () => {
  await context.close();
  context = await openContext(browser, {
    viewport: { width: 390, height: 780 },
    hasTouch: true,
    isMobile: true,
    deviceScaleFactor: 2,
  });
  pages.server.print(session, SAMPLE);
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  await page.getByRole("toolbar", { name: "Keys" }).waitFor();
  await screenshot(page, "phone-dark");
  await page.getByRole("button", { name: "Control" }).tap();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("c");
  await expect.poll(() => session.input).toBe("\x03");
  await page.getByRole("button", { name: "Terminals" }).tap();
  const entry = page.getByRole("link", { name: "ada@harbour" });
  await entry.waitFor();
  await page.waitForFunction(() => document.querySelector(".sidebar")?.getBoundingClientRect().left === 0);
  await screenshot(page, "phone-list");
});

test("the screen answers no query, live or replayed", async () => {
  const page = await openTerminal();
  await connected(page);
  for (const { bytes } of QUERIES) pages.server.print(session, bytes);
  pages.server.print(session, "\r\nasked");
  await seeLine(page, /^asked/);
  pages.server.skipToSnapshot(session);
  await page.reload();
  await seeLine(page, /^asked/);
  // Input is in order, so whatever was answered would come before this key.
  await page.keyboard.type("k");
  await expect.poll(() => session.input).toContain("k");
  expect(session.input.replaceAll(/\x1b\[[IO]/g, "")).toBe("k");
});

test("the layout stays the same while reconnecting", async () => {
  pages.server.print(session, SAMPLE);
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  const place = () => page.locator(".xterm-screen").boundingBox();
  const before = await place();
  const payload = { code: 4000, reason: "draining", reconnect_after_ms: 60_000, window_ms: 0 };
  pages.server.send({ type: "closing", payload });
  pages.server.close(4000);
  await page.getByText(/in (60|59) s/).waitFor();
  await screenshot(page, "reconnecting-dark");
  expect(await place()).toEqual(before);
  pages.server.print(session, "\r\nmeanwhile");
  await page.keyboard.type("k");
  await page.getByRole("button", { name: "Now" }).click();
  await seeLine(page, /^meanwhile/);
  await expect.poll(() => session.input).toBe("k");
  await connected(page);
});

test("a final close waits for the user", async () => {
  const page = await openTerminal();
  pages.server.close(4505, "The client said what it must not.");
  await page.getByText("Disconnected").waitFor();
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await connected(page);
});

test("an expired token leads to the login page", async () => {
  const page = await openTerminal();
  pages.server.close(4502, "The token has expired.");
  await page.getByText("The token has expired.").waitFor();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
});

test("a logout applies to all tabs", async () => {
  const one = await openTerminal();
  const other = await openTerminal();
  await one.getByRole("button", { name: "Log out" }).click();
  await one.getByRole("heading", { name: "Log in" }).waitFor();
  await other.getByRole("heading", { name: "Log in" }).waitFor();
  await expect.poll(() => pages.server.connections.size).toBe(0);
});

test("the screen survives a lost GPU", async () => {
  await context.addInitScript(() => {
    // Lets a machine without a GPU pass for one that has it.
    const { getParameter } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.getParameter = function (name) {
      const value = getParameter.call(this, name);
      return typeof value === "string" && /swiftshader/i.test(value) ? "A GPU" : value;
    };
  });
  pages.server.print(session, SAMPLE);
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  await page.waitForFunction(() => document.querySelectorAll(".xterm-screen canvas").length > 1);
  await screenshot(page, "gpu-dark");
  await page.evaluate(() => {
    for (const canvas of document.querySelectorAll<HTMLCanvasElement>(".xterm-screen canvas")) {
      canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    }
  });
  await page.locator(".xterm-rows").getByText("neap_tide").waitFor();
});

test("an ended session shows its last screen and exit", async () => {
  pages.server.print(session, SAMPLE);
  const page = await openTerminal();
  await seeLine(page, /neap_tide/);
  pages.server.change(session, { status: "terminated", exit: { code: 3, signal: null } });
  await page.locator(".note").getByText("ended with code 3").waitFor();
  await screenshot(page, "ended-dark");
  await page.reload();
  await seeLine(page, /neap_tide/);
  await page.locator(".note").getByText("ended with code 3").waitFor();
});

test("the size of another window is scaled to fit", async () => {
  const page = await openTerminal();
  pages.server.print(session, SAMPLE);
  await anotherOwner(220, 60);
  pages.server.print(session, `\x1b[60;210Hcorner`);
  await seeLine(page, /corner$/);
  await page.getByText("220×60").waitFor();
  const fits = () =>
    page.evaluate(() => {
      const drawn = document.querySelector(".xterm-screen")?.getBoundingClientRect();
      const room = document.querySelector(".screen-area")?.getBoundingClientRect();
      return drawn !== undefined && room !== undefined && drawn.right <= room.right && drawn.bottom <= room.bottom;
    });
  await expect.poll(fits).toBe(true);
  await screenshot(page, "scaled-dark");
  // Typing takes the size over.
  await page.keyboard.type("k");
  await expect.poll(() => session.info.cols).toBeLessThan(220);
  await page.waitForFunction((cols) => globalThis.rejoin.terminal?.cols === cols, session.info.cols);
  expect(await page.evaluate(() => globalThis.rejoin.terminal?.options.fontSize)).toBe(14);
});

test("size changes are ordered with the output", async () => {
  const page = await openTerminal();
  pages.server.print(session, `\x1b[?7h${"a".repeat(30)}\r\n`);
  await anotherOwner(10, 5);
  pages.server.print(session, "b".repeat(20));
  await anotherOwner(40, 5);
  pages.server.print(session, "\r\nend");
  await seeLine(page, /^end/);
  // The line with the cursor is not wrapped anew, so it tells at which width it was printed.
  const printed = ["a".repeat(30), "b".repeat(10), "b".repeat(10), "end"];
  expect((await lines(page)).filter(Boolean)).toEqual(printed);
});

test("a resume starts at the previous size", async () => {
  const page = await openTerminal();
  await connected(page);
  await anotherOwner(80, 10);
  pages.server.print(session, "left here\r\n");
  await seeLine(page, /^left here/);
  pages.server.cut();
  // A cursor that is sent beyond the last column stays in it, so it tells the size at which it was sent.
  const edge = (text: string) => `\x1b[999G\x1b[${text.length - 1}D${text}\r\n`;
  pages.server.print(session, edge("eighty"));
  await anotherOwner(100, 10);
  pages.server.print(session, edge("hundred"));
  await anotherOwner(80, 10);
  pages.server.print(session, edge("eighty again"));
  await anotherOwner(100, 10);
  pages.server.print(session, `${edge("hundred again")}end`);
  await seeLine(page, /^end/);
  const ends = (await lines(page)).map((line) => [line.length, line.trim()]);
  expect(ends).toEqual([
    [9, "left here"],
    [80, "eighty"],
    // At 80 columns, this line is two, and at 100 one again.
    [100, "hundred"],
    [80, "eighty again"],
    [100, "hundred again"],
    [3, "end"],
  ]);
  expect(await page.evaluate(() => globalThis.rejoin.terminal?.cols)).toBe(100);
});

test("a snapshot has the current size", async () => {
  const page = await openTerminal();
  await connected(page);
  await anotherOwner(80, 10);
  pages.server.print(session, "left here\r\n");
  await seeLine(page, /^left here/);
  pages.server.cut();
  session.epoch = "2";
  await anotherOwner(100, 10);
  pages.server.print(session, "\x1b[2;999Hx");
  await seeLine(page, /x$/);
  expect((await lines(page)).map((line) => line.length)).toEqual([9, 100]);
});

test("split characters and xterm.js bugs leave the screen intact", async () => {
  const page = await openTerminal();
  await connected(page);
  pages.server.print(session, "\x1b[999;999H\x1b[1J\x1b[Hone ");
  pages.server.print(session, Buffer.of(0xe2, 0x80));
  pages.server.print(session, Buffer.of(0x94));
  pages.server.print(session, " two");
  await seeLine(page, /^one — two$/);
  // What the engine ends a snapshot with may be the beginning of a character.
  pages.server.print(session, Buffer.of(0x20, 0xe2, 0x80));
  pages.server.skipToSnapshot(session);
  pages.server.print(session, Buffer.of(0x94));
  await seeLine(page, /^one — two —$/);
});

test("keys get through a flood of output", async () => {
  const page = await openTerminal();
  const line = (number: number) => `${number} ${"=".repeat(90)}\r\n`;
  await expect.poll(() => pages.server.received.some(({ type }) => type === "attach")).toBe(true);
  const left = pages.server.next("detach");
  // In one piece: printed a little at a time, the page keeps up.
  pages.server.print(session, Array.from({ length: 200_000 }, (_, at) => line(at + 1)).join(""));
  // The page is behind, and says so by leaving.
  await left;
  await page.keyboard.press("Control+c");
  await expect.poll(() => session.input, { timeout: 20_000 }).toBe("\x03");
  await seeLine(page, /^200000 =/);
  const numbers = (await lines(page)).map((text) => Number.parseInt(text, 10)).filter((number) => number > 3);
  expect(numbers).toEqual(numbers.map((_, at) => 200_000 - numbers.length + 1 + at));
});

test("a new terminal has the chosen profile", async () => {
  pages.profiles = ["terminal", "claude"];
  const page = await logIn();
  await page.locator(".nothing").getByText("New terminal").click();
  await page.getByRole("button", { name: "claude" }).click();
  await page.locator(".xterm-screen").waitFor();
  const created = [...pages.server.sessions.values()].at(-1)?.info;
  expect(created?.profile).toBe("claude");
  expect(page.url()).toBe(`${pages.home}#/s/${created?.id}`);
});

test("closing asks for confirmation and works by keyboard", async () => {
  const page = await openTerminal();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.press("Control+Shift+L");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(pages.server.sessions.size).toBe(1);
  await page.getByRole("button", { name: "Close ada@harbour" }).click();
  await page.getByRole("button", { name: "Close terminal" }).click();
  await page.getByText("There are no terminals yet.").waitFor();
  expect(pages.server.sessions.size).toBe(0);
  expect(session.input).toBe("");
});

test("a missing session and server errors are shown", async () => {
  const page = await logIn("#/s/never-was");
  await page.getByText("This terminal is not there any more.").waitFor();
  const payload = { code: "forbidden", message: "This user may not start terminals.", retryable: false } as const;
  pages.server.send({ type: "error", payload });
  await page.getByRole("alert").getByText("This user may not start terminals.").waitFor();
  await screenshot(page, "error-dark");
  await page.getByRole("button", { name: "Dismiss" }).click();
  await page.getByText("This user may not start terminals.").waitFor({ state: "detached" });
});
