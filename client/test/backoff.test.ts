import { afterEach, expect, test, vi } from "vitest";
import { Backoff } from "../src/backoff.js";

afterEach(() => vi.restoreAllMocks());

test("the limit doubles from 1 s to 30 s", () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const backoff = new Backoff();
  const delays = Array.from({ length: 8 }, () => backoff.next() + 1);

  expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("a delay may be zero", () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const backoff = new Backoff();
  expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([0, 0, 0]);
});

test("a reset restarts at the first limit", () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const backoff = new Backoff();
  backoff.next();
  backoff.next();
  backoff.reset();

  expect(backoff.next()).toBe(500);
});
