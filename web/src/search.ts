// Searches the lines of a screen, and loads older ones until a match is found.

import { signal } from "@preact/signals";
import type { IBuffer, Terminal } from "@xterm/xterm";
import type { HistoryLoader } from "./history";

/** A place in a buffer: a row, counted from the oldest one, and a column. */
interface Place {
  row: number;
  column: number;
}

/** The cells of a match. They may continue on the next rows. */
interface Match extends Place {
  cells: number;
}

export type SearchState = "idle" | "searching" | "found" | "missing";

/** Finds matches and selects them. */
export class ScreenSearch {
  readonly state = signal<SearchState>("idle");
  readonly #emulator: Terminal;
  readonly #history: HistoryLoader;
  /** Identifies the current search, so that a newer one ends it. */
  #attempt = 0;

  constructor(emulator: Terminal, history: HistoryLoader) {
    this.#emulator = emulator;
    this.#history = history;
  }

  /** Selects the next match above the selection, or above the end of the screen. */
  async findOlder(text: string): Promise<void> {
    const attempt = ++this.#attempt;
    if (text === "") return this.clear();

    this.state.value = "searching";
    const { active } = this.#emulator.buffer;
    const selected = this.#emulator.getSelectionPosition()?.start;
    let end: Place =
      selected === undefined
        ? { row: active.length, column: 0 }
        : { row: selected.y, column: selected.x };

    for (;;) {
      const match = findBefore(this.#emulator.buffer.active, text, end);
      if (match !== null) return this.#show(match);

      const added = await this.#history.loadOlder();
      if (attempt !== this.#attempt) return;

      if (added === 0) {
        this.state.value = "missing";
        return;
      }

      // A line that the page border cuts is searched again, now whole.
      end = { row: endOfLine(this.#emulator.buffer.active, added), column: 0 };
    }
  }

  /** Selects the next match below the selection. */
  findNewer(text: string): void {
    this.#attempt += 1;
    const selected = this.#emulator.getSelectionPosition()?.start;
    const from = { row: selected?.y ?? 0, column: selected === undefined ? 0 : selected.x + 1 };
    const match = text === "" ? null : findAfter(this.#emulator.buffer.active, text, from);
    if (match === null) this.state.value = "missing";
    else this.#show(match);
  }

  /** Ends the search. */
  clear(): void {
    this.#attempt += 1;
    this.state.value = "idle";
    this.#emulator.clearSelection();
  }

  #show({ row, column, cells }: Match): void {
    const { rows } = this.#emulator;
    this.#emulator.select(column, row, cells);
    // In the middle, with the context on both sides.
    this.#emulator.scrollToLine(Math.max(0, row - Math.floor(rows / 2)));
    this.state.value = "found";
  }
}

/** Returns the last match that begins before a place. */
function findBefore(buffer: IBuffer, text: string, end: Place): Match | null {
  let first = Math.min(end.row, buffer.length - 1);
  while (first >= 0) {
    first = startOfLine(buffer, first);
    const matches = matchesInLine(buffer, first, text);
    const last = matches.filter((match) => isBefore(match, end)).at(-1);
    if (last !== undefined) return last;

    first -= 1;
  }

  return null;
}

/** Returns the first match that begins at a place or after it. */
function findAfter(buffer: IBuffer, text: string, from: Place): Match | null {
  let first = startOfLine(buffer, from.row);
  while (first < buffer.length) {
    const match = matchesInLine(buffer, first, text).find((match) => !isBefore(match, from));
    if (match !== undefined) return match;

    first = endOfLine(buffer, first);
  }

  return null;
}

/** Returns the row in which the line of a row begins. */
function startOfLine(buffer: IBuffer, row: number): number {
  let first = row;
  while (first > 0 && buffer.getLine(first)?.isWrapped) first -= 1;
  return first;
}

/** Returns the row after the line of a row. */
function endOfLine(buffer: IBuffer, row: number): number {
  let end = row + 1;
  while (end < buffer.length && buffer.getLine(end)?.isWrapped) end += 1;
  return end;
}

/** Returns all matches in the line that begins in a row, whatever their case. */
function matchesInLine(buffer: IBuffer, first: number, text: string): Match[] {
  const end = endOfLine(buffer, first);
  const wanted = text.toLowerCase();
  let line = "";
  for (let row = first; row < end; row++) line += buffer.getLine(row)?.translateToString() ?? "";
  // Most lines have no match, so the cells of the others are not looked at.
  if (!line.toLowerCase().includes(wanted)) return [];

  const { lowered, cells } = cellsOf(buffer, first, end);
  const cols = buffer.getLine(first)?.length ?? 0;
  const matches: Match[] = [];
  // By one and not by the length of the match, so that overlapping matches are found too.
  for (let at = lowered.indexOf(wanted); at >= 0; at = lowered.indexOf(wanted, at + 1)) {
    const start = cells[at] ?? 0;
    const after = cells[at + wanted.length] ?? cells.at(-1) ?? 0;
    const row = first + Math.floor(start / cols);
    matches.push({ row, column: start % cols, cells: Math.max(1, after - start) });
  }

  return matches;
}

/** Returns the text of rows in lower case, and the cell of each of its UTF-16 units. */
function cellsOf(
  buffer: IBuffer,
  first: number,
  end: number,
): { lowered: string; cells: number[] } {
  const cells: number[] = [];
  let lowered = "";
  let cell = 0;
  for (let row = first; row < end; row++) {
    const line = buffer.getLine(row);
    for (let column = 0; column < (line?.length ?? 0); column++, cell++) {
      const content = line?.getCell(column);
      // The second half of a wide character.
      if (content?.getWidth() === 0) continue;

      const text = (content?.getChars() || " ").toLowerCase();
      lowered += text;
      for (let unit = 0; unit < text.length; unit++) cells.push(cell);
    }
  }

  // The end of a match at the end of the line.
  cells.push(cell);
  return { lowered, cells };
}

function isBefore(one: Place, other: Place): boolean {
  return one.row < other.row || (one.row === other.row && one.column < other.column);
}
