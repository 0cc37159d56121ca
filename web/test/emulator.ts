// A headless xterm.js with the settings of the pages.

import { type ITerminalOptions, Terminal } from "@xterm/headless";
import { ENGINE_OPTIONS, matchEngine } from "../src/engine";
import type { Utf8Splitter } from "../src/utf8-splitter";

export type Size = { cols: number; rows: number };

/** Returns an emulator that matches the engine, or an unmodified xterm.js. */
export function emulator(
  options: ITerminalOptions & Partial<Size>,
  matchesEngine = true,
): Terminal {
  const terminal = new Terminal({ ...ENGINE_OPTIONS, logLevel: "off", ...options });
  if (matchesEngine) matchEngine(terminal as never);
  return terminal;
}

/** Writes data and waits until it is parsed. */
export function write(terminal: Terminal, bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => terminal.write(bytes, resolve));
}

/** Writes output like the pages and waits until it is parsed. */
export function writeSplit(
  terminal: Terminal,
  splitter: Utf8Splitter,
  output: Uint8Array,
): Promise<void> {
  for (const piece of splitter.take(output)) terminal.write(piece);
  return write(terminal, "");
}

/** Returns all lines of history and screen, without trailing empty ones. */
export function lines({ buffer }: Terminal): string[] {
  const { active } = buffer;
  const text = Array.from(
    { length: active.length },
    (_, at) => active.getLine(at)?.translateToString(true) ?? "",
  );
  while (text.at(-1) === "") text.pop();
  return text;
}
