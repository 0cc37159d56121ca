// Login links and browser sessions, on the real server.

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { connected, openBrowser, openContext, screenshot } from "./browser";
import { type Rejoin, startRejoin } from "./rejoin";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

let browser: Browser;
let rejoin: Rejoin;
let contexts: BrowserContext[];

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
beforeEach(async () => {
  rejoin = await startRejoin();
  contexts = [];
});
afterEach(async () => {
  for (const context of contexts) await context.close();
  await rejoin.stop();
});

const home = () => `http://127.0.0.1:${rejoin.port}/`;
const linkOf = (user: string) => {
  const code = rejoin.command("token", "--link", "--user", user).split("#login=")[1];
  return `${home()}#login=${code}`;
};
const userOf = (page: Page) => page.locator(".user").textContent();

async function open(link: string, options = {}): Promise<Page> {
  const context = await openContext(browser, options);
  contexts.push(context);
  const page = await context.newPage();
  await page.goto(link);
  return page;
}

test("the printed link logs in once", async () => {
  const link = `${home()}#login=${rejoin.code}`;
  const page = await open(link);
  await connected(page);
  expect(page.url()).toBe(home());
  expect(await userOf(page)).toBe("ann");
  await page.reload();
  await connected(page);
  const late = await open(link);
  await late.getByText("The login link is spent").waitFor();
  await late.getByRole("heading", { name: "Log in" }).waitFor();
});

test("a link of another user asks for confirmation", async () => {
  const page = await open(linkOf("ann"));
  await connected(page);
  const link = linkOf("bob");
  await page.goto(link);
  const dialog = page.getByRole("dialog", { name: "Log in as “bob”?" });
  await dialog.getByText("This browser is logged in as ann").waitFor();
  await screenshot(page, "switch-user-dark");
  await dialog.getByRole("button", { name: "Stay ann" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.reload();
  await connected(page);
  expect(await userOf(page)).toBe("ann");

  await page.goto(link);
  await dialog.getByRole("button", { name: "Log in as bob" }).click();
  await expect.poll(() => userOf(page)).toBe("bob");
  await connected(page);
});

test("an administrator's link is marked as such", async () => {
  const page = await open(linkOf("bob"), PHONE);
  await connected(page);
  await page.goto(`${home()}#login=${rejoin.code}`);
  await page.getByText("who is an administrator").waitFor();
  await screenshot(page, "switch-user-phone-dark");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(await userOf(page)).toBe("bob");
});

test("a browser logged out elsewhere shows the login page", async () => {
  const page = await open(linkOf("ann"));
  await connected(page);
  const other = await open(linkOf("ann"), PHONE);
  await connected(other);
  await page.evaluate(() => location.assign("#/devices"));
  await expect.poll(() => page.locator(".kept-log-in").count()).toBe(2);
  await screenshot(page, "log-ins-dark");
  await other.evaluate(() => location.assign("#/devices"));
  await expect.poll(() => other.locator(".kept-log-in").count()).toBe(2);
  await screenshot(other, "log-ins-phone-dark");
  await page.locator(".kept-log-in").filter({ hasNotText: "this browser" }).getByRole("button").click();
  await other.getByRole("heading", { name: "Log in" }).waitFor();
  await expect.poll(() => page.locator(".kept-log-in").count()).toBe(1);
  await other.reload();
  await other.getByText("Your log-in has ended.").waitFor();
});
