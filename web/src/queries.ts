// Keeps the screen from answering what programs ask their terminal: the server answers, exactly once.

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

/** Window operations that report: 11 to 21 but 12, 17 (not there). */
const WINDOW_REPORTS = new Set([11, 13, 14, 15, 16, 18, 19, 20, 21]);

/** OSC codes that set, or with `?` ask for, colours; 52 is the clipboard. */
const OSC_SET_OR_QUERY = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 52];

const FOCUS_EVENTS = 1004;

export interface Muted {
  /** Whether what the emulator emits at this moment is its own, not the person's. */
  readonly muted: boolean;
  dispose(): void;
}

/** Swallows all queries in what the emulator parses from now on. */
export function swallowQueries({ parser }: Emulator): Muted {
  let muted = false;
  const handlers: IDisposable[] = [
    ...CSI_QUERIES.map((id) => parser.registerCsiHandler(id, () => true)),
    ...DCS_QUERIES.map((id) => parser.registerDcsHandler(id, () => true)),
    ...OSC_SET_OR_QUERY.map((code) => parser.registerOscHandler(code, (data) => data.split(";").includes("?"))),
    parser.registerCsiHandler({ final: "t" }, ([operation]) => WINDOW_REPORTS.has(Number(operation))),
    // The emulator reports its focus at once when the mode is set, which a replay does too.
    parser.registerCsiHandler({ prefix: "?", final: "h" }, (modes) => {
      if (modes.includes(FOCUS_EVENTS)) {
        muted = true;
        // Parsing is synchronous, so no key can come before this.
        queueMicrotask(() => {
          muted = false;
        });
      }
      return false;
    }),
  ];
  return {
    get muted() {
      return muted;
    },
    dispose() {
      for (const handler of handlers) handler.dispose();
    },
  };
}
