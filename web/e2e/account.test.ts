// The login, the logout, and pages below a base path.

import { expect, test } from "vitest";
import { connected, openLoginLink, screenshot } from "./browser";
import { usePages } from "./pages-fixture";

const fixture = usePages();

test("scripts cannot read the browser session", async () => {
  const page = await fixture.logIn();
  const readable = await page.evaluate(() =>
    JSON.stringify({ ...localStorage, cookie: document.cookie, at: location.href }),
  );

  expect(readable).not.toContain("good");
  expect(await fixture.context.cookies()).toMatchObject([
    { name: "rejoin_session", httpOnly: true, sameSite: "Strict", path: "/" },
  ]);
  expect(fixture.server.received.map(({ type }) => type)).not.toContain("authenticate");
});

test("an expired login leads to the login page", async () => {
  const page = await fixture.logIn();
  await fixture.context.clearCookies();
  await page.reload();
  await page.getByText("You have been logged out.").waitFor();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await screenshot(page, "logged-out-dark");
});

test("a login that expires while disconnected is noticed on reconnect", async () => {
  const page = await fixture.logIn();
  fixture.pages.rejectsCookie = true;
  fixture.server.refuseUpgrades = true;
  fixture.server.cut();
  await page.getByText("You have been logged out.").waitFor();
});

test("a refused login shows the reason and can be retried", async () => {
  const page = await fixture.newPage();
  await page.goto(`${fixture.pages.home}#login=expired`);
  await page.getByText("The token has expired.").waitFor();

  expect(page.url()).toBe(fixture.pages.home);

  await page.getByLabel("Token or login link").fill("good");
  await page.getByRole("button", { name: "Log in" }).click();
  await connected(page);

  expect(await page.getByText("The token has expired.").count()).toBe(0);
});

test("a link logs in a logged-out browser only after confirmation", async () => {
  const page = await fixture.newPage();
  await page.goto(`${fixture.pages.home}#login=good`);
  const dialog = page.getByRole("dialog", { name: "Log in as “ada”?" });
  await dialog.getByText("This browser is not logged in").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();

  expect(await fixture.context.cookies()).toEqual([]);
});

test("a login in one tab logs in all tabs", async () => {
  const otherTab = await fixture.newPage();
  await otherTab.goto(fixture.pages.home);
  await otherTab.getByRole("heading", { name: "Log in" }).waitFor();
  await fixture.logIn();
  await connected(otherTab);
});

test("a logout deletes the cookie", async () => {
  const page = await fixture.logIn();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();

  expect(fixture.pages.changes).toEqual(["POST logout"]);

  await page.reload();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  expect(await page.locator(".reason").textContent()).toBe("");
});

test("the page waits for an unreachable server", async () => {
  const page = await fixture.newPage();
  await page.route("**/api/v1/me", (route) => route.abort());
  await page.goto(fixture.pages.home);
  await page.getByText("Cannot reach the server. Retrying…").waitFor();
  await page.unroute("**/api/v1/me");
  await page.getByRole("heading", { name: "Log in" }).waitFor();
});

test("the pages and their links work below another path", async () => {
  await fixture.serveBelow("/tools/rejoin/");
  const session = fixture.server.createSession({ title: "below" });
  const requested: string[] = [];
  const page = await fixture.newPage();
  page.on("request", (request) => requested.push(new URL(request.url()).pathname));
  await openLoginLink(page, `${fixture.pages.home}#login=good`);
  await connected(page);
  await page.getByRole("link", { name: "below" }).click();

  expect(page.url()).toBe(`${fixture.pages.home}#/s/${session.info.id}`);

  await page.locator(".xterm-screen").waitFor();
  await page.reload();
  await page.locator(".xterm-screen").waitFor();
  await page.getByRole("link", { name: "Devices" }).click();
  await page.getByRole("heading", { name: "Devices" }).waitFor();

  expect(page.url()).toBe(`${fixture.pages.home}#/devices`);

  const direct = await fixture.newPage();
  await direct.goto(`${fixture.pages.home}#/devices`);
  await direct.getByRole("heading", { name: "Devices" }).waitFor();

  expect(requested.filter((path) => !path.startsWith("/tools/rejoin/"))).toEqual([]);
  expect((await fixture.context.cookies()).map(({ path }) => path)).toEqual(["/tools/rejoin/"]);
});
