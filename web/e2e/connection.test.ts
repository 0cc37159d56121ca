// Lost connections and ended logins.

import { beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { connected, screenshot, seeLine } from "./browser";
import { usePages } from "./pages-fixture";
import { SAMPLE_OUTPUT } from "./sample-output";

const fixture = usePages();
let session: TestSession;

beforeEach(() => {
  session = fixture.server.createSession({ title: "ada@harbour: ~/tides" });
});

test("the layout stays the same while reconnecting", async () => {
  fixture.server.print(session, SAMPLE_OUTPUT);
  const page = await fixture.openTerminal(session);
  await seeLine(page, /neap_tide/);
  const place = () => page.locator(".xterm-screen").boundingBox();
  const before = await place();
  const payload = { code: 4000, reason: "draining", reconnect_after_ms: 60_000, window_ms: 0 };
  fixture.server.send({ type: "closing", payload });
  fixture.server.close(4000);
  await page.getByText(/in (60|59) s/).waitFor();
  await screenshot(page, "reconnecting-dark");

  expect(await place()).toEqual(before);

  fixture.server.print(session, "\r\nmeanwhile");
  await page.keyboard.type("k");
  await page.getByRole("button", { name: "Retry" }).click();
  await seeLine(page, /^meanwhile/);

  await expect.poll(() => session.input).toBe("k");

  await connected(page);
});

test("a final close waits for the user", async () => {
  const page = await fixture.openTerminal(session);
  fixture.server.close(4505, "The client violated the protocol.");
  await page.getByText("Disconnected").waitFor();
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await connected(page);
});

test("an expired token leads to the login page", async () => {
  const page = await fixture.openTerminal(session);
  fixture.server.close(4502, "The token has expired.");
  await page.getByText("The token has expired.").waitFor();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
});

test("a logout applies to all tabs", async () => {
  const one = await fixture.openTerminal(session);
  const other = await fixture.openTerminal(session);
  await one.getByRole("button", { name: "Log out" }).click();
  await one.getByRole("heading", { name: "Log in" }).waitFor();
  await other.getByRole("heading", { name: "Log in" }).waitFor();

  await expect.poll(() => fixture.server.connections.size).toBe(0);
});
