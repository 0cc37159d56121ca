import type { Terminal } from "@xterm/headless";
import { expect, test } from "vitest";
import { emulator, lines, write } from "./emulator";

const SIZE = { cols: 10, rows: 3 };

function isWrapped({ buffer }: Terminal): boolean[] {
  return Array.from(
    { length: buffer.active.length },
    (_, at) => buffer.active.getLine(at)?.isWrapped ?? false,
  );
}

test.each([
  ["a", 1],
  ["é", 1],
  ["e\u0301", 1],
  ["日本", 4],
  ["─┼█", 3],
  ["✓", 1],
  ["🦀", 2],
  ["\u{1fae8}", 2],
  ["\u00ad", 1],
  ["a\u200b", 1],
])("%s has the engine's width of %i columns", async (text, columns) => {
  const terminal = emulator(SIZE);
  expect(terminal.unicode.activeVersion).toBe("rejoin");

  await write(terminal, text);
  expect(terminal.buffer.active.cursorX).toBe(columns);
});

test("titles can be pushed and popped", async () => {
  const terminal = emulator(SIZE);
  const titles: string[] = [];
  terminal.onTitleChange((title) => titles.push(title));
  await write(terminal, "\x1b]2;one\x07\x1b[22;2t\x1b]2;two\x07\x1b[23;2t");

  expect(titles).toEqual(["one", "two", "one"]);
});

const LAST_CELL = "one\r\ntwo\x1b[3;10H";

test("plain xterm.js stops parsing after erasing above", async () => {
  const alone = emulator(SIZE, false);
  const thrown = new Promise<Error>((resolve) => process.once("uncaughtException", resolve));
  alone.write(`${LAST_CELL}\x1b[1J`);

  expect((await thrown).message).toMatch(/isWrapped/);

  alone.write("\x1b[Hnext");
  await new Promise((resolve) => setTimeout(resolve));
  expect(lines(alone)).not.toContain("next");
});

test.each(["\x1b[1J", "\x1b[?1J"])("%j in the last cell keeps the cursor", async (erase) => {
  const terminal = emulator(SIZE);
  await write(terminal, `${LAST_CELL}${erase}`);
  expect(lines(terminal)).toEqual([]);
  expect([terminal.buffer.active.cursorX, terminal.buffer.active.cursorY]).toEqual([9, 2]);

  await write(terminal, "\x1b[Hnext");
  expect(lines(terminal)).toEqual(["next"]);
});

test("erasing with a pending wrap keeps the wrap", async () => {
  const terminal = emulator(SIZE);
  await write(terminal, "\x1b[3;1H0123456789\x1b[1J|");

  expect(lines(terminal)).toEqual(["", "", "", "|"]);
  expect(isWrapped(terminal)).toEqual([false, false, false, true]);
});

test("a selective erase keeps protected characters", async () => {
  const terminal = emulator(SIZE);
  await write(terminal, '\x1b[1"qkept\x1b[0"qgone\x1b[3;10H\x1b[?1J');
  expect(lines(terminal)).toEqual(["kept"]);
});

test("erasing in the last column unwraps the row below", async () => {
  const wrapped = "0123456789abc\r\n";
  const output = `${wrapped}${wrapped}0123456789abc\x1b[2;10H\x1b[1J`;
  const [terminal, alone] = [emulator(SIZE), emulator(SIZE, false)];
  await write(terminal, output);
  await write(alone, output);

  expect(terminal.buffer.active.baseY).toBe(3);
  expect(isWrapped(terminal)).toEqual([false, true, false, false, false, false]);
  expect(isWrapped(terminal)).not.toEqual(isWrapped(alone));
  expect(lines(terminal)).toEqual(["0123456789", "abc", "0123456789", "", "", "abc"]);
});

test("erasing in the last column unwraps erased rows", async () => {
  const terminal = emulator({ cols: 10, rows: 4 });
  await write(terminal, `\r\n\r\n0123456789abc\r\n\r\n\x1b[3;10H\x1b[1J`);

  expect(terminal.buffer.active.baseY).toBe(2);
  expect(isWrapped(terminal)).toEqual([false, false, false, false, false, false]);
});

test.each(["I", "L", "M", "S", "T", "Z", "b"])(
  "a count of 2147483647 for %s takes no time",
  async (final) => {
    const [terminal, alone] = [emulator(SIZE), emulator(SIZE, false)];
    const most = final === "b" ? SIZE.cols * SIZE.rows : SIZE.cols;
    const output = "one\r\ntwo\x1b[1;4H\t\x1b[4Dx";
    await write(terminal, `${output}\x1b[2147483647${final}|`);
    await write(alone, `${output}\x1b[${most}${final}|`);

    expect(lines(terminal)).toEqual(lines(alone));
  },
);

test("erasing elsewhere equals xterm.js", async () => {
  for (const erase of ["\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[3J", "\x1b[?J", "\x1b[?1J"]) {
    const [terminal, alone] = [emulator(SIZE), emulator(SIZE, false)];
    const output = `0123456789abc\r\nd\r\ne\x1b[2;5H${erase}`;
    await write(terminal, output);
    await write(alone, output);
    expect([lines(terminal), isWrapped(terminal)], erase).toEqual([lines(alone), isWrapped(alone)]);
  }
});
