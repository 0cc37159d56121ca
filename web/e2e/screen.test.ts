// The screen of a terminal: its input, output and size.

import { beforeEach, expect, test } from "vitest";
import type { TestSession } from "../../client/test/test-session";
import { QUERIES } from "../test/query-samples";
import { connected, lines, screenshot, seeLine } from "./browser";
import { usePages } from "./pages-fixture";
import { SAMPLE_OUTPUT } from "./sample-output";

const fixture = usePages();
let session: TestSession;

beforeEach(() => {
  session = fixture.server.createSession({ title: "ada@harbour: ~/tides" });
});

test("a terminal shows output and takes input", async () => {
  fixture.server.print(session, SAMPLE_OUTPUT);
  const page = await fixture.openTerminal(session);
  await seeLine(page, /neap_tide/);

  expect(await page.title()).toBe("ada@harbour: ~/tides");

  await page.keyboard.type("tide 3\r");
  await seeLine(page, /\$ tide 3/);
  expect(session.input).toBe("tide 3\r");
});

test("the screen answers no query, live or replayed", async () => {
  const page = await fixture.openTerminal(session);
  await connected(page);
  for (const { bytes } of QUERIES) fixture.server.print(session, bytes);
  fixture.server.print(session, "\r\nasked");
  await seeLine(page, /^asked/);
  fixture.server.skipToSnapshot(session);
  await page.reload();
  await seeLine(page, /^asked/);
  // Input is ordered, so an answer would arrive before this key.
  await page.keyboard.type("k");

  await expect.poll(() => session.input).toContain("k");
  // Focus reports are not answers.
  expect(session.input.replaceAll("\x1b[I", "").replaceAll("\x1b[O", "")).toBe("k");
});

test("the screen survives a lost GPU", async () => {
  await fixture.context.addInitScript(() => {
    // Hides the software renderer of machines without a GPU.
    const { getParameter } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.getParameter = function (name) {
      const value = getParameter.call(this, name);
      return typeof value === "string" && /swiftshader/i.test(value) ? "A GPU" : value;
    };
  });
  fixture.server.print(session, SAMPLE_OUTPUT);
  const page = await fixture.openTerminal(session);
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
  fixture.server.print(session, SAMPLE_OUTPUT);
  const page = await fixture.openTerminal(session);
  await seeLine(page, /neap_tide/);
  fixture.server.change(session, { status: "terminated", exit: { code: 3, signal: null } });
  await page.locator(".note").getByText("exited with code 3").waitFor();
  await screenshot(page, "ended-dark");
  await page.reload();
  await seeLine(page, /neap_tide/);
  await page.locator(".note").getByText("exited with code 3").waitFor();
});

test("split characters and xterm.js bugs leave the screen intact", async () => {
  const page = await fixture.openTerminal(session);
  await connected(page);
  fixture.server.print(session, "\x1b[999;999H\x1b[1J\x1b[Hone ");
  fixture.server.print(session, Buffer.of(0xe2, 0x80));
  fixture.server.print(session, Buffer.of(0x94));
  fixture.server.print(session, " two");
  await seeLine(page, /^one — two$/);
  // A snapshot may end within a character.
  fixture.server.print(session, Buffer.of(0x20, 0xe2, 0x80));
  fixture.server.skipToSnapshot(session);
  fixture.server.print(session, Buffer.of(0x94));
  await seeLine(page, /^one — two —$/);
});

test("keys get through a flood of output", async () => {
  const page = await fixture.openTerminal(session);
  const line = (number: number) => `${number} ${"=".repeat(90)}\r\n`;
  await expect.poll(() => fixture.server.received.some(({ type }) => type === "attach")).toBe(true);

  // In one piece, because the page keeps up with many small ones.
  fixture.server.print(session, Array.from({ length: 50_000 }, (_, at) => line(at + 1)).join(""));
  await page.keyboard.press("Control+c");

  await expect.poll(() => session.input, { timeout: 20_000 }).toBe("\x03");

  await seeLine(page, /^50000 =/);
  const numbers = (await lines(page))
    .map((text) => Number.parseInt(text, 10))
    .filter((number) => number > 3);

  expect(numbers).toEqual(numbers.map((_, at) => 50_000 - numbers.length + 1 + at));
});
