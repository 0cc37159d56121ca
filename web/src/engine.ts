// Makes xterm.js show what the server's engine shows, cell for cell: it makes the snapshots.

import type { IDisposable, ITerminalInitOnlyOptions, ITerminalOptions, Terminal } from "@xterm/xterm";
import { EngineWidths } from "../../crates/rejoin-screen/xterm/unicode.mjs";
import widths from "../../crates/rejoin-screen/xterm/widths.json";

type Emulator = Pick<Terminal, "parser" | "unicode" | "buffer" | "cols" | "rows">;

/** What the parser's handlers cannot reach by the public interface. */
interface Core {
  buffer: { lines: { get(index: number): { isWrapped: boolean } | undefined } };
  _inputHandler: { eraseInDisplay(params: { params: number[] }, selective: boolean): boolean };
}

/** The parameters of ED. */
const ERASE_ABOVE = 1;
const ERASE_ALL = 2;

/** What must be set when the emulator is made. */
export const ENGINE_OPTIONS = {
  // For the widths.
  allowProposedApi: true,
  windowOptions: { pushTitle: true, popTitle: true },
} satisfies ITerminalOptions & ITerminalInitOnlyOptions;

/** Gives an emulator the engine's widths, and mends what it does otherwise. */
export function followEngine(emulator: Emulator): void {
  const provider = new EngineWidths(widths);
  emulator.unicode.register(provider);
  emulator.unicode.activeVersion = provider.version;
  mendEraseAbove(emulator, { final: "J" }, false);
  mendEraseAbove(emulator, { prefix: "?", final: "J" }, true);
}

/**
 * In the last column, xterm.js 6 takes the row below from the top of the history instead of from the screen: it
 * unwraps a wrong line, and on the last row without a history it throws and never parses again.
 */
function mendEraseAbove(emulator: Emulator, id: { prefix?: string; final: string }, selective: boolean): IDisposable {
  return emulator.parser.registerCsiHandler(id, ([what]) => {
    const { cursorX, cursorY, baseY } = emulator.buffer.active;
    if (what !== ERASE_ABOVE || cursorX + 1 < emulator.cols) return false;
    const { buffer, _inputHandler: handler } = (emulator as unknown as { _core: Core })._core;
    if (cursorY + 1 === emulator.rows) return handler.eraseInDisplay({ params: [ERASE_ALL] }, selective);
    const wrong = buffer.lines.get(cursorY + 1);
    const below = buffer.lines.get(baseY + cursorY + 1);
    const wrapped = wrong?.isWrapped ?? false;
    handler.eraseInDisplay({ params: [ERASE_ABOVE] }, selective);
    if (wrong !== undefined) wrong.isWrapped = wrapped;
    if (below !== undefined) below.isWrapped = false;
    return true;
  });
}
