// Logging in and out, and the page below any path.

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
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
  context = await openContext(browser);
});
afterEach(async () => {
  await context.close();
  await pages.server.stop();
});

async function logIn(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  return page;
}

test("scripts cannot read the browser session", async () => {
  pages = await servePages();
  const page = await logIn();
  const readable = await page.evaluate(() => JSON.stringify({ ...localStorage, cookie: document.cookie, at: location.href }));
  expect(readable).not.toContain("good");
  expect(await context.cookies()).toMatchObject([{ name: "rejoin_session", httpOnly: true, sameSite: "Strict", path: "/" }]);
  expect(pages.server.received.map(({ type }) => type)).not.toContain("authenticate");
});

test("an expired login leads to the login page", async () => {
  pages = await servePages();
  const page = await logIn();
  await context.clearCookies();
  await page.reload();
  await page.getByText("Your log-in has ended.").waitFor();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await screenshot(page, "log-in-ended-dark");
});

test("a login that expires while disconnected is noticed on reconnect", async () => {
  pages = await servePages();
  const page = await logIn();
  pages.forgetful = true;
  pages.server.refuseUpgrades = true;
  pages.server.cut();
  await page.getByText("Your log-in has ended.").waitFor();
});

test("a refused login shows the reason and can be retried", async () => {
  pages = await servePages();
  const page = await context.newPage();
  await page.goto(`${pages.home}#login=expired`);
  await page.getByText("The token has expired.").waitFor();
  expect(page.url()).toBe(pages.home);
  await page.getByLabel("Token or log-in link").fill("good");
  await page.getByRole("button", { name: "Log in" }).click();
  await connected(page);
  expect(await page.getByText("The token has expired.").count()).toBe(0);
});

test("a login in one tab logs in all tabs", async () => {
  pages = await servePages();
  const waiting = await context.newPage();
  await waiting.goto(pages.home);
  await waiting.getByRole("heading", { name: "Log in" }).waitFor();
  await logIn();
  await connected(waiting);
});

test("a logout deletes the cookie", async () => {
  pages = await servePages();
  const page = await logIn();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  expect(pages.changes).toEqual(["POST logout"]);
  await page.reload();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  expect(await page.locator(".reason").textContent()).toBe("");
});

test("the page waits for an unreachable server", async () => {
  pages = await servePages();
  const page = await context.newPage();
  await page.route("**/api/v1/me", (route) => route.abort());
  await page.goto(pages.home);
  await page.getByText("The server cannot be reached. Trying again…").waitFor();
  await page.unroute("**/api/v1/me");
  await page.getByRole("heading", { name: "Log in" }).waitFor();
});

test("the pages and their links work below another path", async () => {
  pages = await servePages("/tools/rejoin/");
  const session = pages.server.createSession({ title: "below" });
  const asked: string[] = [];
  const page = await context.newPage();
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(`${pages.home}#login=good`);
  await connected(page);
  await page.getByRole("link", { name: "below" }).click();
  expect(page.url()).toBe(`${pages.home}#/s/${session.info.id}`);
  await page.locator(".xterm-screen").waitFor();
  await page.reload();
  await page.locator(".xterm-screen").waitFor();
  await page.getByRole("link", { name: "Devices" }).click();
  await page.getByRole("heading", { name: "Devices" }).waitFor();
  expect(page.url()).toBe(`${pages.home}#/devices`);
  const direct = await context.newPage();
  await direct.goto(`${pages.home}#/devices`);
  await direct.getByRole("heading", { name: "Devices" }).waitFor();
  expect(asked.filter((path) => !path.startsWith("/tools/rejoin/"))).toEqual([]);
  expect((await context.cookies()).map(({ path }) => path)).toEqual(["/tools/rejoin/"]);
});
