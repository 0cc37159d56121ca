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
  _inputHandler: {
    eraseInDisplay(params: { params: number[] }, selective: boolean): boolean;
  } & Record<CountedFunction, (params: { params: number[]; length: number }) => boolean>;
}

/** Functions that xterm.js executes once per count, up to 2,147,483,647 times. */
type CountedFunction =
  | "cursorBackwardTab"
  | "cursorForwardTab"
  | "deleteLines"
  | "insertLines"
  | "repeatPrecedingCharacter"
  | "scrollDown"
  | "scrollUp";

/** The counted functions by the final byte of their sequences. */
const COUNTED: Record<string, CountedFunction> = {
  I: "cursorForwardTab",
  L: "insertLines",
  M: "deleteLines",
  S: "scrollUp",
  T: "scrollDown",
  Z: "cursorBackwardTab",
  b: "repeatPrecedingCharacter",
};

/** The most characters that REP prints, as in the engine. */
const REPEAT_LIMIT = 4096;

/** Parameters of ED (erase in display). */
const ERASE_ABOVE = 1;
const ERASE_ALL = 2;

/** Options that an emulator needs from its start. */
export const ENGINE_OPTIONS = {
  // Required to register a table of widths.
  allowProposedApi: true,
  windowOptions: { pushTitle: true, popTitle: true },
} satisfies ITerminalOptions & ITerminalInitOnlyOptions;

/** Gives an emulator the engine's widths and fixes two bugs of xterm.js. */
export function matchEngine(emulator: Emulator): void {
  const provider = new EngineWidths(widths);
  emulator.unicode.register(provider);
  emulator.unicode.activeVersion = provider.version;
  fixEraseAbove(emulator, { final: "J" }, false);
  fixEraseAbove(emulator, { prefix: "?", final: "J" }, true);
  for (const [final, name] of Object.entries(COUNTED)) limitCount(emulator, final, name);
}

/** Limits the count of a function to the size of the screen; a larger one freezes the page. */
function limitCount(emulator: Emulator, final: string, name: CountedFunction): IDisposable {
  return emulator.parser.registerCsiHandler({ final }, ([parameter]) => {
    const { cols, rows } = emulator;
    const most = final === "b" ? Math.min(REPEAT_LIMIT, cols * rows) : Math.max(cols, rows);
    const count = Array.isArray(parameter) ? parameter[0] : parameter;
    if (count === undefined || count <= most) return false;

    const { _inputHandler: handler } = (emulator as unknown as { _core: Core })._core;
    return handler[name]({ params: [most], length: 1 });
  });
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
    // Restores the wrong line, unless it was erased too, and unwraps the right one.
    if (wrong !== undefined && cursorY + 1 < baseY) wrong.isWrapped = wrapped;
    if (below !== undefined) below.isWrapped = false;
    return true;
  });
}
