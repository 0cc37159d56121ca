import { describe, expect, test } from "vitest";
import { age, deviceName, exitText, remaining, shortAgent } from "../src/wording";

const KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)";

describe("user agents are shortened to", () => {
  test.each([
    [
      "Chrome 141 on Android",
      `Mozilla/5.0 (Linux; Android 16) ${KHTML} Chrome/141.0.0.0 Mobile Safari/537.36`,
    ],
    [
      "Edge 141 on Windows",
      `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${KHTML} Chrome/141.0.0.0 Safari/537.36 Edg/141.0`,
    ],
    [
      "Firefox 144 on Linux",
      "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    ],
    [
      "Safari 26 on macOS",
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/26.0 Safari/605.1",
    ],
    [
      "Safari 26 on iPhone",
      "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) Version/26.0 Mobile/15E Safari/604.1",
    ],
    ["python-websockets/15.0", "python-websockets/15.0 (extra)"],
    ["node", "node"],
    ["Unknown program", ""],
    ["Unknown program", null],
  ])("%s", (short, agent) => {
    expect(shortAgent(agent)).toBe(short);
  });
});

test("a device name has no version", () => {
  expect(
    deviceName(`Mozilla/5.0 (Linux; Android 16) ${KHTML} Chrome/141.0.0.0 Mobile Safari/537.36`),
  ).toBe("Chrome on Android");
  expect(deviceName("something else")).toBe("Browser");
});

test("ages have one unit", () => {
  expect([0, 60_000, 7_200_000, 3 * 86_400_000].map((past) => age(0, past))).toEqual([
    "just now",
    "1 min",
    "2 h",
    "3 days",
  ]);
});

test("the time until the end is rounded up", () => {
  const until = (seconds: number) => remaining(seconds * 1000, 0);
  expect([-5, 59, 61, 1800, 7200, 200_000].map(until)).toEqual([
    "1 min",
    "1 min",
    "2 min",
    "30 min",
    "2 h",
    "3 days",
  ]);
});

test("the reason explains an end that the server caused", () => {
  const reason = "no connection was attached for 1800s";
  const exit = { code: null, signal: "SIGHUP" };
  expect(exitText({ status: "terminated", exit, reason })).toBe(`ended: ${reason}`);
});

test("a lost session does not look like a failed one", () => {
  const exit = { code: null, signal: null };
  const reason = "the program was lost: the machine was restarted";
  expect(exitText({ status: "error", exit, reason, lost: true })).toBe("lost");
});
