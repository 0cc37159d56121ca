// The list of sessions and the list of devices, as they change.

import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { ConnectionInfo } from "../src/devices";
import { connected, openBrowser, openContext, screenshot } from "./browser";
import { type PagesServer, servePages } from "./pages-server";

let browser: Browser;
let context: BrowserContext;
let pages: PagesServer;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  pages = await servePages();
  context = await openContext(browser);
});
afterEach(async () => {
  await context.close();
  await pages.server.stop();
});

async function open(fragment = ""): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  if (fragment !== "") await page.evaluate((hash) => location.assign(hash), fragment);
  return page;
}

async function reopen(options: BrowserContextOptions): Promise<void> {
  await context.close();
  context = await openContext(browser, options);
}

const titles = (page: Page) => page.locator(".entry-title").allTextContents();
const asks = (page: Page) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  return () => asked.filter((path) => path.endsWith("/sessions")).length;
};

test("the list follows new, changed and removed sessions", async () => {
  const { info } = pages.server.createSession({ title: "first" });
  const page = await open();
  await expect.poll(() => titles(page)).toEqual(["first"]);
  const asked = asks(page);
  const second = { ...info, id: "id-second", title: "second", created_at: info.created_at + 1 };
  pages.server.publish("@sessions", second, "created");
  await expect.poll(() => titles(page)).toEqual(["second", "first"]);
  pages.server.publish("@sessions", { ...info, title: "renamed", connections: 3 }, "changed");
  await expect.poll(() => titles(page)).toEqual(["second", "renamed"]);
  await page.getByText("3 attached").waitFor();
  pages.server.publish("@sessions", info, "removed");
  await expect.poll(() => titles(page)).toEqual(["second"]);
  pages.server.publish("@sessions", { ...info, title: "late" }, "changed");
  pages.server.publish("@sessions", { ...second, title: "last" }, "changed");
  await expect.poll(() => titles(page)).toEqual(["last"]);
  expect(asked()).toBe(0);
});

test("a reconnect refreshes the list", async () => {
  const { info } = pages.server.createSession({ title: "first" });
  const page = await open();
  await expect.poll(() => titles(page)).toEqual(["first"]);
  pages.server.cut();
  info.title = "meanwhile";
  await expect.poll(() => titles(page)).toEqual(["meanwhile"]);
});

test("a gap refreshes the list", async () => {
  const { info } = pages.server.createSession({ title: "first" });
  const page = await open();
  await expect.poll(() => titles(page)).toEqual(["first"]);
  info.title = "missed";
  pages.server.send({ type: "gap", payload: { topic: "@sessions", missed: 2, reason: "retention", position: "t.9" } });
  await expect.poll(() => titles(page)).toEqual(["missed"]);
});

test("a change during a request wins over its reply", async () => {
  const { info } = pages.server.createSession({ title: "old" });
  const page = await context.newPage();
  let answer: () => void = () => {};
  const held = new Promise<void>((resolve) => (answer = resolve));
  await page.route("**/api/v1/sessions?*", async (route) => {
    const response = await route.fetch();
    await held;
    await route.fulfill({ response });
  });
  const asked = page.waitForRequest("**/api/v1/sessions?*");
  await page.goto(`${pages.home}#login=good`);
  await asked;
  pages.server.publish("@sessions", { ...info, title: "new" }, "changed");
  await page.evaluate(() => globalThis.rejoin.connection.request("ping", {}));
  answer();
  await expect.poll(() => titles(page)).toEqual(["new"]);
});

test("an administrator can list the sessions of all users", async () => {
  pages.admin = true;
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  pages.server.createSession({ title: "own" });
  pages.server.createSession({ title: "of bob", owner: "bob", created_at: Date.now() + 1 });
  await page.reload();
  await expect.poll(() => titles(page)).toEqual(["own"]);
  await page.getByLabel("All users").check();
  await expect.poll(() => titles(page)).toEqual(["of bob", "own"]);
  await page.getByText("bob · nobody attached").waitFor();
  await screenshot(page, "list-everyone-dark");
  pages.server.createSession({ title: "later of bob", owner: "bob", created_at: Date.now() + 2 });
  await page.clock.runFor(10_000);
  await expect.poll(() => titles(page)).toEqual(["later of bob", "of bob", "own"]);
  await page.getByLabel("All users").uncheck();
  await expect.poll(() => titles(page)).toEqual(["own"]);
});

function addMany(count: number): void {
  const now = Date.now();
  for (let number = 1; number <= count; number++) {
    const status = number % 10 === 0 ? "terminated" : "idle";
    pages.server.createSession({ title: `number ${number}`, status, created_at: now - (count - number) * 60_000 });
  }
}

test("a long list is paged, newest first", async () => {
  addMany(150);
  const page = await open();
  await expect.poll(async () => (await titles(page)).length).toBe(100);
  expect((await titles(page))[0]).toBe("number 150");
  await page.getByRole("button", { name: "Show more" }).click();
  await expect.poll(async () => (await titles(page)).length).toBe(150);
  expect((await titles(page)).at(-1)).toBe("number 1");
  expect(await page.getByRole("button", { name: "Show more" }).count()).toBe(0);
});

test("an open session outside the page has a title", async () => {
  addMany(150);
  const oldest = [...pages.server.sessions.values()][0];
  const page = await open(`#/s/${oldest?.info.id}`);
  await page.getByRole("heading", { name: "number 1" }).waitFor();
  expect(await page.title()).toBe("number 1");
});

test("the list is filtered by text and state", async () => {
  addMany(150);
  const page = await open();
  await page.getByLabel("Filter terminals").fill("NUMBER 14");
  const fourteens = [149, 148, 147, 146, 145, 144, 143, 142, 141, 140, 14].map((number) => `number ${number}`);
  await expect.poll(() => titles(page)).toEqual(fourteens);
  await page.getByLabel("Which terminals").selectOption("ended");
  await expect.poll(() => titles(page)).toEqual(["number 140"]);
  await screenshot(page, "list-filtered-dark");
  const running = [...pages.server.sessions.values()].find(({ info }) => info.title === "number 141");
  const ended = { ...running?.info, status: "terminated" as const };
  Object.assign(running?.info ?? {}, ended);
  pages.server.publish("@sessions", ended, "changed");
  await expect.poll(() => titles(page)).toEqual(["number 141", "number 140"]);
  await page.getByLabel("Which terminals").selectOption("running");
  await page.getByLabel("Filter terminals").fill("nothing like it");
  await page.getByText("Nothing is found.").waitFor();
});

test("ended sessions can be cleared on a phone", async () => {
  await reopen({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  addMany(20);
  pages.admin = true;
  const page = await open();
  await page.getByRole("button", { name: "Terminals" }).tap();
  await page.waitForFunction(() => document.querySelector(".sidebar")?.getBoundingClientRect().left === 0);
  await screenshot(page, "list-phone-dark");
  await page.getByRole("button", { name: "Clear ended" }).tap();
  await expect.poll(async () => (await titles(page)).length).toBe(18);
  expect(await titles(page)).not.toContain("number 20");
  expect([...pages.server.sessions.values()].length).toBe(18);
});

const CHROME_ON_ANDROID = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36";
const SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15";

function other(more: Partial<ConnectionInfo>): ConnectionInfo {
  const now = Date.now();
  return {
    id: "c-other",
    user: "ada",
    device: "phone-1",
    device_name: "Pixel",
    role_context: null,
    address: "192.0.2.17",
    user_agent: CHROME_ON_ANDROID,
    connected_at: now - 3 * 3_600_000,
    last_heard_at: now - 20_000,
    ...more,
  };
}

function addOthers(): void {
  const at = Date.now() - 2 * 86_400_000;
  pages.otherConnections = [
    other({}),
    other({ id: "c-phone-2", role_context: "night shift", connected_at: Date.now() - 240_000 }),
    other({ id: "c-mac", device: "mac-1", device_name: "Ada's laptop", user_agent: SAFARI, address: "2001:db8::1f:7" }),
    other({ id: "c-script", device: null, device_name: null, user_agent: "python-websockets/15.0", connected_at: at }),
  ];
}

test("devices are listed, this browser first", async () => {
  addOthers();
  const page = await open("#/devices");
  await page.getByRole("heading", { name: "Pixel" }).waitFor();
  expect(await page.title()).toBe("Devices");
  const names = await page.locator(".device h2").allTextContents();
  expect(names.slice(1)).toEqual(["Pixel", "Ada's laptop", "Without a device"]);
  expect(names[0]).toMatch(/^Chrome on/);
  const phone = page.getByRole("region", { name: "Pixel" });
  await phone.getByText("Chrome 141 on Android").first().waitFor();
  await phone.getByText("192.0.2.17 · night shift").waitFor();
  await phone.getByText("connected 3 h ago").waitFor();
  await page.getByRole("region", { name: "Ada's laptop" }).getByText("Safari 26 on macOS").waitFor();
  await page.getByText("python-websockets/15.0").waitFor();
  await page.getByText("· this page").waitFor();
  await screenshot(page, "devices-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "devices-light");
});

test("a connection and a device can be disconnected", async () => {
  addOthers();
  const page = await open("#/devices");
  const phone = page.getByRole("region", { name: "Pixel" });
  await phone.getByRole("listitem").nth(1).waitFor();
  await phone.getByRole("button", { name: "c-phone-2" }).click();
  await expect.poll(() => phone.getByRole("listitem").count()).toBe(1);
  await phone.getByRole("button", { name: "Disconnect device" }).click();
  await phone.waitFor({ state: "detached" });
  expect(pages.changes).toEqual(["DELETE connections/c-phone-2", 'POST users/ada/disconnect {"device":"phone-1"}']);
});

test("a page that disconnects itself can reconnect", async () => {
  const page = await open("#/devices");
  await page.getByRole("listitem").filter({ hasText: "this page" }).getByRole("button").click();
  await page.getByText("Disconnected", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await connected(page);
});

test("the list follows devices", async () => {
  const page = await open("#/devices");
  await page.getByRole("region").waitFor();
  const tab = await open();
  await expect.poll(() => page.locator(".device li").count()).toBe(2);
  await tab.close();
  await expect.poll(() => page.locator(".device li").count()).toBe(1);
});

test("the device list fits a phone", async () => {
  await reopen({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  addOthers();
  const page = await open();
  await page.getByRole("button", { name: "Terminals" }).tap();
  await page.waitForFunction(() => document.querySelector(".sidebar")?.getBoundingClientRect().left === 0);
  await screenshot(page, "phone-drawer-dark");
  await page.getByRole("link", { name: "Devices" }).tap();
  await page.getByRole("region", { name: "Pixel" }).waitFor();
  await page.waitForFunction(() => (document.querySelector(".sidebar")?.getBoundingClientRect().right ?? 1) <= 0);
  await screenshot(page, "devices-phone-dark");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});
