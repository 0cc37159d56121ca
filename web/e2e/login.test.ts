// Login links and browser sessions, on the real server.

import type { BrowserContextOptions, Page } from "playwright-core";
import { expect, test } from "vitest";
import { connected, goTo, openLoginLink, PHONE, screenshot } from "./browser";
import { useRejoin } from "./rejoin-fixture";

const fixture = useRejoin();

const userOf = (page: Page) => page.locator(".user").textContent();

/** Opens a login link in its own context, and confirms it. */
async function logIn(link: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await fixture.newPage(options);
  await openLoginLink(page, link);
  await connected(page);
  return page;
}

async function open(link: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await fixture.newPage(options);
  await page.goto(link);
  return page;
}

test("the printed link logs in once", async () => {
  const link = `${fixture.home}#login=${fixture.server.code}`;
  const page = await logIn(link);

  expect(page.url()).toBe(fixture.home);
  expect(await userOf(page)).toBe("ann");

  await page.reload();
  await connected(page);
  const late = await open(link);
  await late.locator(".reason").getByText(/link/i).waitFor();
  await late.getByRole("heading", { name: "Log in" }).waitFor();
});

test("a link of another user asks for confirmation", async () => {
  const page = await logIn(fixture.loginLink("--user", fixture.user));
  const other = `${fixture.user}-other`;
  const link = fixture.loginLink("--user", other);
  await page.goto(link);
  const dialog = page.getByRole("dialog", { name: `Log in as “${other}”?` });
  await dialog.getByText(`This browser is logged in as ${fixture.user}`).waitFor();
  await screenshot(page, "switch-user-dark");
  await dialog.getByRole("button", { name: `Stay as ${fixture.user}` }).click();
  await dialog.waitFor({ state: "detached" });
  await page.reload();
  await connected(page);
  expect(await userOf(page)).toBe(fixture.user);

  await page.goto(link);
  await dialog.getByRole("button", { name: `Log in as ${other}` }).click();
  await expect.poll(() => userOf(page)).toBe(other);
  await connected(page);
});

test("an administrator's link is marked as such", async () => {
  const page = await logIn(fixture.loginLink("--user", fixture.user), PHONE);
  await page.goto(fixture.loginLink("--user", "ann", "--admin"));
  await page.getByText("who is an administrator").waitFor();
  await screenshot(page, "switch-user-phone-dark");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  expect(await userOf(page)).toBe(fixture.user);
});

test("a browser logged out elsewhere shows the login page", async () => {
  const page = await logIn(fixture.loginLink("--user", fixture.user));
  const other = await logIn(fixture.loginLink("--user", fixture.user), PHONE);
  await goTo(page, "#/devices");

  await expect.poll(() => page.locator(".browser-session").count()).toBe(2);

  await screenshot(page, "logins-dark");
  await goTo(other, "#/devices");
  await expect.poll(() => other.locator(".browser-session").count()).toBe(2);

  await screenshot(other, "logins-phone-dark");
  await page
    .locator(".browser-session")
    .filter({ hasNotText: "this browser" })
    .getByRole("button")
    .click();
  await other.getByRole("heading", { name: "Log in" }).waitFor();

  await expect.poll(() => page.locator(".browser-session").count()).toBe(1);

  await other.reload();
  await other.getByText("You have been logged out.").waitFor();
});
