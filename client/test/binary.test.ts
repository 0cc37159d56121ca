import { expect, test } from "vitest";
import { decodeBinary, encodeBinary } from "../src/index.js";

test("an encoded message decodes to itself", () => {
  const bytes = new Uint8Array([0, 1, 255]);
  for (const offset of [
    0,
    127,
    128,
    16_383,
    16_384,
    2 ** 31,
    2 ** 32 + 5,
    Number.MAX_SAFE_INTEGER,
  ]) {
    const wire = encodeBinary("output", 300, offset, bytes);
    expect(decodeBinary(wire.buffer)).toEqual({ kind: "output", stream: 300, offset, bytes });
  }
});

test("a header is a kind and two little-endian base-128 varints", () => {
  expect([...encodeBinary("input", 5, 300, new Uint8Array([65]))]).toEqual([2, 5, 0xac, 0x02, 65]);
  expect([...encodeBinary("input_ack", 1, 7)]).toEqual([4, 1, 7]);
});

test("malformed messages decode to null", () => {
  const wrong = [
    [],
    [0, 1, 1],
    [6, 1, 1],
    [1],
    [1, 1],
    [1, 0x80],
    [1, 1, ...Array(9).fill(0xff), 1],
  ];
  for (const bytes of wrong) expect(decodeBinary(new Uint8Array(bytes).buffer)).toBeNull();
});
