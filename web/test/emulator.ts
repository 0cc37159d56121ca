// An emulator without a screen, set up as the pages set theirs up.

import { type ITerminalOptions, Terminal } from "@xterm/headless";
import { Characters } from "../src/characters";
import { ENGINE_OPTIONS, followEngine } from "../src/engine";

export type Size = { cols: number; rows: number };

/** One that follows the engine, or xterm.js as it comes. */
export function emulator(options: ITerminalOptions & Partial<Size>, follows = true): Terminal {
  const terminal = new Terminal({ ...ENGINE_OPTIONS, logLevel: "off", ...options });
  if (follows) followEngine(terminal as never);
  return terminal;
}

/** Resolves when all is parsed. */
export function write(terminal: Terminal, bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => terminal.write(bytes, resolve));
}

/** Writes output as the pages do; resolves when all is parsed. */
export function follow(terminal: Terminal, characters: Characters, output: Uint8Array): Promise<void> {
  for (const piece of characters.take(output)) terminal.write(piece);
  return write(terminal, "");
}

/** All lines: history and screen, without the blanks at the end. */
export function lines({ buffer }: Terminal): string[] {
  const { active } = buffer;
  const text = Array.from({ length: active.length }, (_, at) => active.getLine(at)?.translateToString(true) ?? "");
  while (text.at(-1) === "") text.pop();
  return text;
}
