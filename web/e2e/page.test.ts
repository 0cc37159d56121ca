// The pages around the terminal: login, list, dialogs, errors.

import { beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { connected, PHONE, screenshot, seeLine } from "./browser";
import { usePages } from "./pages-fixture";
import { SAMPLE_OUTPUT } from "./sample-output";

const fixture = usePages();
let session: TestSession;

beforeEach(() => {
  session = fixture.server.createSession({ title: "ada@harbour: ~/tides" });
});

test("a login link is removed from the address", async () => {
  const page = await fixture.logIn();
  expect(page.url()).toBe(fixture.pages.home);

  await page.getByText("No terminal is open.").waitFor();
  await page.reload();
  await connected(page);
});

test("the login page explains how to get a link", async () => {
  const page = await fixture.newPage();
  await page.goto(fixture.pages.home);
  await page.getByText("rejoin token --link").waitFor();
  await screenshot(page, "login-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "login-light");
  await page.getByLabel("Token or login link").fill("expired");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("The token has expired.").waitFor();
  await page.getByLabel("Token or login link").fill(`${fixture.pages.home}#login=good`);
  await page.getByRole("button", { name: "Log in" }).click();
  await connected(page);
});

test("the terminal page in dark and light", async () => {
  fixture.server.print(session, SAMPLE_OUTPUT);
  const day = 86_400_000;
  const now = Date.now();
  const add = fixture.server.createSession.bind(fixture.server);
  add({
    title: "agent: sea level plan",
    profile: "claude",
    connections: 2,
    created_at: now - 3 * 3_600_000,
  });
  add({ name: "watching the build", status: "idle", created_at: now - day });
  add({
    title: "make release",
    status: "terminated",
    exit: { code: 2, signal: null },
    last_activity_at: now - 240_000,
  });
  add({
    title: "python3 -i a-rather-long-name-of-a-script.py",
    status: "idle",
    created_at: now - 5 * day,
  });
  const page = await fixture.openTerminal(session);
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
  await fixture.reopenContext(PHONE);
  fixture.server.print(session, SAMPLE_OUTPUT);
  const page = await fixture.openTerminal(session);
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
  await page.waitForFunction(
    () => document.querySelector(".sidebar")?.getBoundingClientRect().left === 0,
  );
  await screenshot(page, "phone-list");
});

test("the start page of a phone is the list", async () => {
  await fixture.reopenContext(PHONE);
  const page = await fixture.logIn();
  await page.getByRole("link", { name: "ada@harbour" }).tap();
  await page.locator(".xterm-screen").waitFor();

  expect(page.url()).toContain("#/s/");
});

test("a new terminal has the chosen profile", async () => {
  fixture.pages.profiles = ["terminal", "claude"];
  const page = await fixture.logIn();
  await page.locator(".placeholder").getByText("New terminal").click();
  await page.getByRole("button", { name: "claude" }).click();
  await page.locator(".xterm-screen").waitFor();
  const created = [...fixture.server.sessions.values()].at(-1)?.info;

  expect(created?.profile).toBe("claude");
  expect(page.url()).toBe(`${fixture.pages.home}#/s/${created?.id}`);
});

test("closing asks for confirmation and works by keyboard", async () => {
  const page = await fixture.openTerminal(session);
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.press("Control+Shift+L");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  expect(fixture.server.sessions.size).toBe(1);

  await page.getByRole("button", { name: "Close ada@harbour" }).click();
  await page.getByRole("button", { name: "Close terminal" }).click();
  await page.getByText("You have no terminals yet.").waitFor();

  expect(fixture.server.sessions.size).toBe(0);
  expect(session.input).toBe("");
});

test("a missing session and server errors are shown", async () => {
  const page = await fixture.logIn("#/s/missing");
  await page.getByText("This terminal no longer exists.").waitFor();
  const payload = {
    code: "forbidden",
    message: "This user may not start terminals.",
    retryable: false,
  } as const;
  fixture.server.send({ type: "error", payload });
  await page.getByRole("alert").getByText("This user may not start terminals.").waitFor();
  await screenshot(page, "error-dark");
  await page.getByRole("button", { name: "Dismiss" }).click();
  await page.getByText("This user may not start terminals.").waitFor({ state: "detached" });
});
