import { Terminal } from "@xterm/headless";
import { describe, expect, test } from "vitest";
import { suppressQueries } from "../src/queries";
import { QUERIES } from "./query-samples";

function answersTo(data: string | Uint8Array, suppress: boolean): Promise<string[]> {
  const terminal = new Terminal({ allowProposedApi: true });
  const queries = suppress ? suppressQueries(terminal as never) : null;
  const answers: string[] = [];
  terminal.onData((answer) => {
    if (!queries?.suppressing) answers.push(answer);
  });
  return new Promise((resolve) => terminal.write(data, () => resolve(answers)));
}

describe("the screen does not answer", () => {
  test.each(QUERIES)("$name", async ({ bytes }) => {
    expect(await answersTo(bytes, true)).toEqual([]);
  });

  test("queries split into bytes", async () => {
    const terminal = new Terminal({ allowProposedApi: true });
    suppressQueries(terminal as never);
    const answers: string[] = [];
    terminal.onData((answer) => answers.push(answer));
    for (const { bytes } of QUERIES)
      for (const byte of new TextEncoder().encode(bytes)) terminal.write(Uint8Array.of(byte));
    await new Promise<void>((resolve) => terminal.write("", resolve));

    expect(answers).toEqual([]);
  });
});

test("xterm.js alone answers", async () => {
  const answered = await Promise.all(QUERIES.map(({ bytes }) => answersTo(bytes, false)));
  expect(answered.flat().length).toBeGreaterThanOrEqual(9);
});

test("sequences that resemble queries take effect", async () => {
  const terminal = new Terminal({
    allowProposedApi: true,
    windowOptions: { pushTitle: true, popTitle: true },
  });
  suppressQueries(terminal as never);
  let title = "";
  terminal.onTitleChange((text) => {
    title = text;
  });
  const setting = "\x1b]2;one\x07\x1b[22;0t\x1b]2;two\x07\x1b[23;0t\x1b[?2004h\x1b[?1h\x1b[4h";
  await new Promise<void>((resolve) => terminal.write(setting, resolve));

  expect(title).toBe("one");
  expect(terminal.modes).toMatchObject({
    bracketedPasteMode: true,
    applicationCursorKeysMode: true,
    insertMode: true,
  });
});
