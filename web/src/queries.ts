// Suppresses the screen's answers to queries of programs, because the server answers them once.

import type { IDisposable, IFunctionIdentifier, Terminal } from "@xterm/xterm";

type Emulator = Pick<Terminal, "parser">;

const CSI_QUERIES: IFunctionIdentifier[] = [
  { final: "c" }, // DA1
  { prefix: ">", final: "c" }, // DA2
  { prefix: "=", final: "c" }, // DA3
  { final: "n" }, // DSR, CPR
  { prefix: "?", final: "n" }, // DECDSR, DECXCPR, colour scheme
  { intermediates: "$", final: "p" }, // DECRQM
  { prefix: "?", intermediates: "$", final: "p" }, // DECRQM, private
  { prefix: ">", final: "q" }, // XTVERSION
  { prefix: "?", final: "u" }, // kitty keyboard flags
  { final: "x" }, // DECREQTPARM
];

const DCS_QUERIES: IFunctionIdentifier[] = [
  { intermediates: "$", final: "q" }, // DECRQSS
  { intermediates: "+", final: "q" }, // XTGETTCAP
];

/** Window operations that report; 12 and 17 do not exist. */
const WINDOW_REPORTS = new Set([11, 13, 14, 15, 16, 18, 19, 20, 21]);

/** OSC codes that set a value, or with `?` query it: colours, and the clipboard (52). */
const OSC_SET_OR_QUERY = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 52];

const FOCUS_EVENTS = 1004;

/** The registered handlers. */
export interface QuerySuppressor {
  /** True if the emulator's current output is its own, not the user's input. */
  readonly suppressing: boolean;
  dispose(): void;
}

/** Drops all queries that the emulator parses. */
export function suppressQueries({ parser }: Emulator): QuerySuppressor {
  let suppressing = false;
  const handlers: IDisposable[] = [
    ...CSI_QUERIES.map((id) => parser.registerCsiHandler(id, () => true)),
    ...DCS_QUERIES.map((id) => parser.registerDcsHandler(id, () => true)),
    ...OSC_SET_OR_QUERY.map((code) =>
      parser.registerOscHandler(code, (data) => data.split(";").includes("?")),
    ),
    parser.registerCsiHandler({ final: "t" }, ([operation]) =>
      WINDOW_REPORTS.has(Number(operation)),
    ),
    // Setting the mode makes the emulator report its focus at once, also during a replay.
    parser.registerCsiHandler({ prefix: "?", final: "h" }, (modes) => {
      if (modes.includes(FOCUS_EVENTS)) {
        suppressing = true;
        // Parsing is synchronous: no key arrives before the microtask.
        queueMicrotask(() => {
          suppressing = false;
        });
      }

      return false;
    }),
  ];

  return {
    get suppressing() {
      return suppressing;
    },
    dispose() {
      for (const handler of handlers) handler.dispose();
    },
  };
}
