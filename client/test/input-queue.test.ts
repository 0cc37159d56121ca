import { expect, test } from "vitest";
import { InputQueue } from "../src/input-queue.js";

const key = new Uint8Array([97]);

test("a large paste is split and limited in flight", () => {
  const queue = new InputQueue();
  queue.push(new Uint8Array(100 * 1024));
  const pieces = queue.take();

  expect(pieces.map((piece) => piece.bytes.length)).toEqual(Array(8).fill(8 * 1024));
  expect(queue.take()).toEqual([]);

  queue.acknowledge(2);
  expect(queue.take().map((piece) => piece.seq)).toEqual([9, 10]);
});

test("at most 64 keys are in flight", () => {
  const queue = new InputQueue();
  for (let i = 0; i < 100; i++) queue.push(key);
  expect(queue.take()).toHaveLength(64);

  queue.acknowledge(64);
  expect(queue.take().map((piece) => piece.seq)).toEqual(
    Array.from({ length: 36 }, (_, i) => 65 + i),
  );
});

test("a resume resends only input that the session lacks", () => {
  const queue = new InputQueue();
  for (let i = 0; i < 5; i++) queue.push(key);
  queue.take();

  expect(queue.resume(3).map((piece) => piece.seq)).toEqual([4, 5]);

  queue.push(key);
  expect(queue.take().map((piece) => piece.seq)).toEqual([6]);
});

test("a resume continues after the session's last number", () => {
  const queue = new InputQueue();
  queue.push(key);

  expect(queue.resume(10)).toEqual([]);
  expect(queue.take().map((piece) => piece.seq)).toEqual([11]);
});

test("a resume renumbers input for a session that lost it", () => {
  const queue = new InputQueue();
  for (let i = 0; i < 3; i++) queue.push(key);
  queue.take();
  queue.acknowledge(2);

  expect(queue.resume(0).map((piece) => piece.seq)).toEqual([1]);
});
