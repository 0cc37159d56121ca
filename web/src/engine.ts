// Makes xterm.js equal to the server's screen engine cell for cell, because that makes snapshots.

import type {
  IDisposable,
  ITerminalInitOnlyOptions,
  ITerminalOptions,
  Terminal,
} from "@xterm/xterm";
import { EngineWidths } from "../../crates/rejoin-screen/xterm/unicode.mjs";
import widths from "../../crates/rejoin-screen/xterm/widths.json";

type Emulator = Pick<Terminal, "parser" | "unicode" | "buffer" | "cols" | "rows">;

/** Internals of xterm.js that the public interface does not offer. */
interface Core {
  buffer: { lines: { get(index: number): { isWrapped: boolean } | undefined } };
  _inputHandler: { eraseInDisplay(params: { params: number[] }, selective: boolean): boolean };
}

/** Parameters of ED (erase in display). */
const ERASE_ABOVE = 1;
const ERASE_ALL = 2;

/** Options that an emulator needs from its start. */
export const ENGINE_OPTIONS = {
  // Required to register a table of widths.
  allowProposedApi: true,
  windowOptions: { pushTitle: true, popTitle: true },
} satisfies ITerminalOptions & ITerminalInitOnlyOptions;

/** Gives an emulator the engine's widths and fixes a bug of xterm.js. */
export function matchEngine(emulator: Emulator): void {
  const provider = new EngineWidths(widths);
  emulator.unicode.register(provider);
  emulator.unicode.activeVersion = provider.version;
  fixEraseAbove(emulator, { final: "J" }, false);
  fixEraseAbove(emulator, { prefix: "?", final: "J" }, true);
}

/**
 * Fixes ED 1 in the last column.
 *
 * There, xterm.js 6 looks up the row below in the history instead of the screen. It unwraps a wrong
 * line, and on the last row without a history it throws and never parses again.
 */
function fixEraseAbove(
  emulator: Emulator,
  id: { prefix?: string; final: string },
  selective: boolean,
): IDisposable {
  return emulator.parser.registerCsiHandler(id, ([parameter]) => {
    const { cursorX, cursorY, baseY } = emulator.buffer.active;
    if (parameter !== ERASE_ABOVE || cursorX + 1 < emulator.cols) return false;

    const { buffer, _inputHandler: handler } = (emulator as unknown as { _core: Core })._core;
    if (cursorY + 1 === emulator.rows)
      return handler.eraseInDisplay({ params: [ERASE_ALL] }, selective);

    const wrong = buffer.lines.get(cursorY + 1);
    const below = buffer.lines.get(baseY + cursorY + 1);
    const wrapped = wrong?.isWrapped ?? false;

    handler.eraseInDisplay({ params: [ERASE_ABOVE] }, selective);
    // Restores the wrong line and unwraps the right one.
    if (wrong !== undefined) wrong.isWrapped = wrapped;
    if (below !== undefined) below.isWrapped = false;
    return true;
  });
}
