// Types of the screen engine's table of widths, which is JavaScript.

declare module "*/rejoin-screen/xterm/unicode.mjs" {
  import type { IUnicodeVersionProvider } from "@xterm/xterm";

  /** Ranges of code points (first and last), by width in columns. */
  export type Widths = Record<"0" | "2", number[][]>;

  export class EngineWidths implements IUnicodeVersionProvider {
    constructor(table: Widths);
    readonly version: string;
    wcwidth(codepoint: number): 0 | 1 | 2;
    charProperties(codepoint: number, preceding: number): number;
  }
}
