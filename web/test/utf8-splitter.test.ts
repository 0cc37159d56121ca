import { expect, test } from "vitest";
import { incompleteBytes, MAX_PIECE_BYTES, Utf8Splitter } from "../src/utf8-splitter";
import { emulator, lines, write, writeSplit } from "./emulator";

const SIZE = { cols: 60, rows: 3, scrollback: 0 };
const encode = (text: string) => new TextEncoder().encode(text);
const join = (pieces: Uint8Array[]) => Uint8Array.from(pieces.flatMap((piece) => [...piece]));

/** Returns the lines that the pages show for split output. */
async function linesOf(pieces: Uint8Array[]): Promise<string[]> {
  const terminal = emulator(SIZE);
  const splitter = new Utf8Splitter();
  await Promise.all(pieces.map((piece) => writeSplit(terminal, splitter, piece)));
  return lines(terminal);
}

/** Returns the lines that xterm.js alone shows for output in one piece. */
async function expectedLines(bytes: Uint8Array): Promise<string[]> {
  const terminal = emulator(SIZE);
  await write(terminal, bytes);
  return lines(terminal);
}

test("plain xterm.js loses a split character", async () => {
  const terminal = emulator(SIZE);
  await write(terminal, Uint8Array.of(0xe2, 0x80));
  await write(terminal, Uint8Array.of(0x94));

  expect(lines(terminal)).toEqual([]);
  expect(await linesOf([Uint8Array.of(0xe2, 0x80), Uint8Array.of(0x94)])).toEqual(["—"]);
});

test.each([
  ["", 0],
  ["61", 0],
  ["c3", 1],
  ["c3a9", 0],
  ["e2", 1],
  ["e280", 2],
  ["e28094", 0],
  ["f09f", 2],
  ["f09fa6", 3],
  ["f09fa680", 0],
  ["e2c3", 1],
  ["e26180", 0],
  ["80", 0],
  ["808080", 0],
  ["ff", 0],
  ["f8", 0],
  ["c3a9a9", 0],
])("%s ends with %i bytes of an incomplete character", (hex, count) => {
  expect(incompleteBytes(Buffer.from(hex, "hex"))).toBe(count);
});

test("splitting a text does not change it", async () => {
  const bytes = encode("a—é€😀\u0301日\u{10ffff}\u0800 —\u{1f000}x");
  const whole = await expectedLines(bytes);
  for (let one = 0; one <= bytes.length; one++) {
    for (let two = one; two <= bytes.length; two++) {
      const pieces = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)];
      expect(await linesOf(pieces), `cut at ${one} and ${two}`).toEqual(whole);
    }
  }
});

test("splitting invalid UTF-8 does not change its display", async () => {
  const bytes = [
    0x61, 0x80, 0xbf, 0xc0, 0xc3, 0xa9, 0xe2, 0x94, 0xed, 0xa0, 0xf0, 0x9f, 0xf4, 0xf8, 0xff, 0xef,
    0xbb,
  ];
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % below;
  };
  for (let round = 0; round < 60; round++) {
    const soup = Uint8Array.from(
      { length: 1 + random(12) },
      () => bytes[random(bytes.length)] ?? 0,
    );
    const whole = await expectedLines(join([soup, encode("|end")]));
    for (let at = 0; at <= soup.length; at++) {
      const pieces = [
        soup.subarray(0, at),
        ...Array.from(soup.subarray(at), (byte) => Uint8Array.of(byte)),
        encode("|end"),
      ];
      expect(await linesOf(pieces), `${Buffer.from(soup).toString("hex")} cut at ${at}`).toEqual(
        whole,
      );
    }
  }
});

test("only an incomplete character is held back", () => {
  const splitter = new Utf8Splitter();
  const bytes = encode("é—😀");
  const pieces = Array.from(bytes, (byte) => splitter.take(Uint8Array.of(byte)));

  expect(pieces.flat().map((piece) => piece.length)).toEqual([2, 3, 4]);
  expect(join(pieces.flat())).toEqual(bytes);
});

test("large output is split between characters", async () => {
  const bytes = encode(`${"x".repeat(MAX_PIECE_BYTES - 2)}—end`);
  expect((await expectedLines(bytes)).at(-1)).toMatch(/xend$/);
  expect((await linesOf([bytes])).at(-1)).toMatch(/x—end$/);

  const pieces = new Utf8Splitter().take(bytes);
  expect(pieces.map((piece) => piece.length)).toEqual([MAX_PIECE_BYTES - 2, 6]);
});

test("a snapshot drops a held character", async () => {
  const terminal = emulator(SIZE);
  const splitter = new Utf8Splitter();
  await writeSplit(terminal, splitter, Uint8Array.of(0xe2, 0x80));
  splitter.clear();
  await writeSplit(terminal, splitter, Uint8Array.of(0x1b, 0x63, 0x61, 0xe2, 0x80));

  expect(lines(terminal)).toEqual(["a"]);

  await writeSplit(terminal, splitter, Uint8Array.of(0x94, 0x62));
  expect(lines(terminal)).toEqual(["a—b"]);
});
