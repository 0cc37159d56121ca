import { expect, test } from "vitest";
import { Characters, LARGEST_PIECE_BYTES, unfinished } from "../src/characters";
import { emulator, follow, lines, write } from "./emulator";

const SIZE = { cols: 60, rows: 3, scrollback: 0 };
const encode = (text: string) => new TextEncoder().encode(text);
const join = (pieces: Uint8Array[]) => Uint8Array.from(pieces.flatMap((piece) => [...piece]));

/** What is shown of output that comes in pieces. */
async function shown(pieces: Uint8Array[]): Promise<string[]> {
  const terminal = emulator(SIZE);
  const characters = new Characters();
  await Promise.all(pieces.map((piece) => follow(terminal, characters, piece)));
  return lines(terminal);
}

/** What xterm.js shows of it by itself, if it gets all at once. */
async function shownWhole(bytes: Uint8Array): Promise<string[]> {
  const terminal = emulator(SIZE);
  await write(terminal, bytes);
  return lines(terminal);
}

test("xterm.js alone loses a character split after a 0x80 byte", async () => {
  const terminal = emulator(SIZE);
  await write(terminal, Uint8Array.of(0xe2, 0x80));
  await write(terminal, Uint8Array.of(0x94));
  expect(lines(terminal)).toEqual([]);
  expect(await shown([Uint8Array.of(0xe2, 0x80), Uint8Array.of(0x94)])).toEqual(["—"]);
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
  expect(unfinished(Buffer.from(hex, "hex"))).toBe(count);
});

test("splitting a text does not change it", async () => {
  const bytes = encode("a—é€😀\u0301日\u{10ffff}\u0800 —\u{1f000}x");
  const whole = await shownWhole(bytes);
  for (let one = 0; one <= bytes.length; one++) {
    for (let two = one; two <= bytes.length; two++) {
      const pieces = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)];
      expect(await shown(pieces), `cut at ${one} and ${two}`).toEqual(whole);
    }
  }
});

test("splitting invalid UTF-8 does not change its display", async () => {
  const bytes = [0x61, 0x80, 0xbf, 0xc0, 0xc3, 0xa9, 0xe2, 0x94, 0xed, 0xa0, 0xf0, 0x9f, 0xf4, 0xf8, 0xff, 0xef, 0xbb];
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % below;
  };
  for (let round = 0; round < 60; round++) {
    const soup = Uint8Array.from({ length: 1 + random(12) }, () => bytes[random(bytes.length)] ?? 0);
    const whole = await shownWhole(join([soup, encode("|end")]));
    for (let at = 0; at <= soup.length; at++) {
      const pieces = [soup.subarray(0, at), ...Array.from(soup.subarray(at), (byte) => Uint8Array.of(byte)), encode("|end")];
      expect(await shown(pieces), `${Buffer.from(soup).toString("hex")} cut at ${at}`).toEqual(whole);
    }
  }
});

test("only an incomplete character is held back", () => {
  const characters = new Characters();
  const bytes = encode("é—😀");
  const pieces = Array.from(bytes, (byte) => characters.take(Uint8Array.of(byte)));
  expect(pieces.flat().map((piece) => piece.length)).toEqual([2, 3, 4]);
  expect(join(pieces.flat())).toEqual(bytes);
});

test("large output is split between characters", async () => {
  const bytes = encode(`${"x".repeat(LARGEST_PIECE_BYTES - 2)}—end`);
  expect((await shownWhole(bytes)).at(-1)).toMatch(/xend$/);
  expect((await shown([bytes])).at(-1)).toMatch(/x—end$/);
  const pieces = new Characters().take(bytes);
  expect(pieces.map((piece) => piece.length)).toEqual([LARGEST_PIECE_BYTES - 2, 6]);
});

test("a snapshot drops a held character", async () => {
  const terminal = emulator(SIZE);
  const characters = new Characters();
  await follow(terminal, characters, Uint8Array.of(0xe2, 0x80));
  characters.clear();
  await follow(terminal, characters, Uint8Array.of(0x1b, 0x63, 0x61, 0xe2, 0x80));
  expect(lines(terminal)).toEqual(["a"]);
  await follow(terminal, characters, Uint8Array.of(0x94, 0x62));
  expect(lines(terminal)).toEqual(["a—b"]);
});
