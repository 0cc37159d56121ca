// The list of sessions and its changes.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { connected, openLoginLink, PHONE, screenshot } from "./browser";
import { usePages } from "./pages-fixture";

const fixture = usePages();

const titles = (page: Page) => page.locator(".entry-title").allTextContents();
/** Counts the requests for the list from now on. */
function countRequests(page: Page): () => number {
  const paths: string[] = [];
  page.on("request", (request) => paths.push(new URL(request.url()).pathname));
  return () => paths.filter((path) => path.endsWith("/sessions")).length;
}

test("the list follows new, changed and removed sessions", async () => {
  const { info } = fixture.server.createSession({ title: "first" });
  const page = await fixture.logIn();
  await expect.poll(() => titles(page)).toEqual(["first"]);

  const requests = countRequests(page);
  const second = { ...info, id: "id-second", title: "second", created_at: info.created_at + 1 };
  fixture.server.publish("@sessions", second, "created");

  await expect.poll(() => titles(page)).toEqual(["second", "first"]);

  fixture.server.publish("@sessions", { ...info, title: "renamed", connections: 3 }, "changed");
  await expect.poll(() => titles(page)).toEqual(["second", "renamed"]);

  await page.getByText("3 attached").waitFor();
  fixture.server.publish("@sessions", info, "removed");
  await expect.poll(() => titles(page)).toEqual(["second"]);

  fixture.server.publish("@sessions", { ...info, title: "late" }, "changed");
  fixture.server.publish("@sessions", { ...second, title: "last" }, "changed");
  await expect.poll(() => titles(page)).toEqual(["last"]);
  expect(requests()).toBe(0);
});

test("a reconnect refreshes the list", async () => {
  const { info } = fixture.server.createSession({ title: "first" });
  const page = await fixture.logIn();
  await expect.poll(() => titles(page)).toEqual(["first"]);

  fixture.server.cut();
  info.title = "meanwhile";
  await expect.poll(() => titles(page)).toEqual(["meanwhile"]);
});

test("a gap refreshes the list", async () => {
  const { info } = fixture.server.createSession({ title: "first" });
  const page = await fixture.logIn();
  await expect.poll(() => titles(page)).toEqual(["first"]);

  info.title = "missed";
  fixture.server.send({
    type: "gap",
    payload: { topic: "@sessions", missed: 2, reason: "retention", position: "t.9" },
  });

  await expect.poll(() => titles(page)).toEqual(["missed"]);
});

test("a change during a request wins over its reply", async () => {
  const { info } = fixture.server.createSession({ title: "old" });
  const page = await fixture.newPage();
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/api/v1/sessions?*", async (route) => {
    const response = await route.fetch();
    await held;
    await route.fulfill({ response });
  });
  const request = page.waitForRequest("**/api/v1/sessions?*");
  await openLoginLink(page, `${fixture.pages.home}#login=good`);
  await request;
  fixture.server.publish("@sessions", { ...info, title: "new" }, "changed");
  await page.evaluate(() => globalThis.rejoin.connection.request("ping", {}));
  release();

  await expect.poll(() => titles(page)).toEqual(["new"]);
});

test("an administrator can list the sessions of all users", async () => {
  fixture.pages.admin = true;
  const page = await fixture.newPage();
  await page.clock.install();
  await openLoginLink(page, `${fixture.pages.home}#login=good`);
  await connected(page);
  fixture.server.createSession({ title: "own" });
  fixture.server.createSession({ title: "of bob", owner: "bob", created_at: Date.now() + 1 });
  await page.reload();

  await expect.poll(() => titles(page)).toEqual(["own"]);

  await page.getByLabel("All users").check();
  await expect.poll(() => titles(page)).toEqual(["of bob", "own"]);

  await page.getByText("bob · not attached").waitFor();
  await screenshot(page, "list-everyone-dark");
  fixture.server.createSession({ title: "later of bob", owner: "bob", created_at: Date.now() + 2 });
  await page.clock.runFor(10_000);

  await expect.poll(() => titles(page)).toEqual(["later of bob", "of bob", "own"]);

  await page.getByLabel("All users").uncheck();
  await expect.poll(() => titles(page)).toEqual(["own"]);
});

/** Adds sessions; every tenth has ended. */
function addMany(count: number): void {
  const now = Date.now();
  for (let number = 1; number <= count; number++) {
    const status = number % 10 === 0 ? "terminated" : "idle";
    fixture.server.createSession({
      title: `number ${number}`,
      status,
      created_at: now - (count - number) * 60_000,
    });
  }
}

test("a long list is paged, newest first", async () => {
  addMany(150);
  const page = await fixture.logIn();
  await expect.poll(async () => (await titles(page)).length).toBe(100);
  expect((await titles(page))[0]).toBe("number 150");

  await page.getByRole("button", { name: "Show more" }).click();
  await expect.poll(async () => (await titles(page)).length).toBe(150);
  expect((await titles(page)).at(-1)).toBe("number 1");
  expect(await page.getByRole("button", { name: "Show more" }).count()).toBe(0);
});

test("an open session outside the page has a title", async () => {
  addMany(150);
  const oldest = [...fixture.server.sessions.values()][0];
  const page = await fixture.logIn(`#/s/${oldest?.info.id}`);
  await page.getByRole("heading", { name: "number 1" }).waitFor();

  expect(await page.title()).toBe("number 1");
});

test("the list is filtered by text and state", async () => {
  addMany(150);
  const page = await fixture.logIn();
  await page.getByLabel("Filter terminals").fill("NUMBER 14");
  const fourteens = [149, 148, 147, 146, 145, 144, 143, 142, 141, 140, 14].map(
    (number) => `number ${number}`,
  );

  await expect.poll(() => titles(page)).toEqual(fourteens);

  await page.getByLabel("Status").selectOption("ended");
  await expect.poll(() => titles(page)).toEqual(["number 140"]);

  await screenshot(page, "list-filtered-dark");
  const running = [...fixture.server.sessions.values()].find(
    ({ info }) => info.title === "number 141",
  );
  const ended = { ...running?.info, status: "terminated" as const };
  Object.assign(running?.info ?? {}, ended);
  fixture.server.publish("@sessions", ended, "changed");

  await expect.poll(() => titles(page)).toEqual(["number 141", "number 140"]);

  await page.getByLabel("Status").selectOption("running");
  await page.getByLabel("Filter terminals").fill("nothing like it");
  await page.getByText("No matching terminals.").waitFor();
});

test("ended sessions can be cleared on a phone", async () => {
  await fixture.reopenContext(PHONE);
  addMany(20);
  fixture.pages.admin = true;
  const page = await fixture.logIn();
  await page.getByRole("button", { name: "Clear ended" }).waitFor();
  await screenshot(page, "list-phone-dark");
  await page.getByRole("button", { name: "Clear ended" }).tap();

  await expect.poll(async () => (await titles(page)).length).toBe(18);
  expect(await titles(page)).not.toContain("number 20");
  expect([...fixture.server.sessions.values()].length).toBe(18);
});
