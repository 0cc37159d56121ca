// Loads the lines above a screen, a page at a time, into the scrollback of its xterm.js.

import { type IDisposable, Terminal } from "@xterm/xterm";
import { type HistoryPage, type HistoryQuery, type HistoryRange, RejoinError } from "rejoin";
import { ENGINE_OPTIONS, matchEngine } from "./engine";

/** The first page follows each snapshot at once, so that there is something to scroll to. */
const FIRST_LINES = 100;
const PAGE_LINES = 500;
/** The rows above the viewport below which the next page is requested. */
const MARGIN_ROWS = 50;
const RETRY_MS = 1_000;

export type RequestHistory = (query: HistoryQuery) => Promise<HistoryPage>;

/** A row of xterm.js. */
interface BufferLine {
  isWrapped: boolean;
  /** The attributes beyond colours, by column. */
  _extendedAttrs: Record<number, { urlId: number } | undefined>;
}

interface Buffer {
  lines: {
    length: number;
    maxLength: number;
    get(index: number): BufferLine | undefined;
    splice(start: number, deleted: number, ...lines: BufferLine[]): void;
    onTrim(listener: (count: number) => void): IDisposable;
  };
  /** The index of the screen's first row. */
  ybase: number;
  /** The index of the first visible row. */
  ydisp: number;
  /** The index of the saved cursor's row. */
  savedY: number;
}

/** Internals of xterm.js: its public interface cannot add lines above others. */
interface Core {
  buffers: { normal: Buffer };
  _oscLinkService: {
    getLinkData(id: number): object | undefined;
    registerLink(data: object): number;
  };
  _selectionService?: { _model: { handleTrim(count: number): void } };
  _viewport?: { _sync(): void };
}

/** The lines that are not loaded yet. */
interface Remaining {
  generation: number;
  first: number;
  /** The number of the first line in the scrollback. */
  before: number;
}

/**
 * Loads older lines when the user scrolls near the top.
 *
 * Lines are drawn by a second xterm.js and moved above the others, so the position of the viewport
 * does not change and the output goes on meanwhile.
 */
export class HistoryLoader {
  readonly #emulator: Terminal;
  readonly #request: RequestHistory;
  readonly #disposables: IDisposable[];
  /** Null if nothing older can be loaded until the next snapshot. */
  #remaining: Remaining | null = null;
  /** Identifies the current snapshot, so that pages of earlier ones are dropped. */
  #snapshot = 0;
  #loading = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #trim: IDisposable | undefined;
  /** Calls of `loadOlder` that wait for the next page. */
  #waiting: ((rows: number) => void)[] = [];
  /** The rows from the viewport to the screen at the last snapshot, until they are loaded. */
  #distance = 0;

  constructor(emulator: Terminal, request: RequestHistory) {
    this.#emulator = emulator;
    this.#request = request;
    this.#disposables = [
      emulator.onRender(() => this.#load()),
      // The numbers of the rows change. A snapshot follows.
      emulator.onResize(() => this.#stop()),
      // A reset drops the history, here and on the server.
      emulator.parser.registerEscHandler({ final: "c" }, () => {
        this.#stop();
        return false;
      }),
    ];
  }

  /** Prepares for a snapshot, which drops the scrollback. Keeps the position of the viewport. */
  beginSnapshot(): void {
    const { baseY, viewportY } = this.#emulator.buffer.normal;
    // A second snapshot may follow before the lines of the first one are loaded.
    this.#distance = Math.max(baseY - viewportY, this.#distance);
  }

  /** Starts to load the lines above a snapshot that was just written. */
  endSnapshot(range: HistoryRange | null): void {
    this.#stop();
    if (range === null) return;

    const { generation, first, end } = range;
    this.#remaining = { generation, first, before: end };
    // Rows are trimmed once the scrollback is full, or when a program clears it. In both cases
    // there is nothing older to show.
    this.#trim = this.#core.buffers.normal.lines.onTrim(() => this.#stop());
    this.#load();
  }

  /** Loads the next older page. Returns the number of its rows; 0 if there is none. */
  loadOlder(): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#load();
    });
  }

  dispose(): void {
    this.#stop();
    for (const disposable of this.#disposables) disposable.dispose();
  }

  get #core(): Core {
    return coreOf(this.#emulator);
  }

  #stop(): void {
    this.#snapshot += 1;
    this.#remaining = null;
    this.#loading = false;
    this.#trim?.dispose();
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#answer(0);
  }

  /** Ends the calls of `loadOlder`. */
  #answer(rows: number): void {
    for (const resolve of this.#waiting.splice(0)) resolve(rows);
  }

  /** Loads the next page if the viewport is near the top. */
  #load(): void {
    const remaining = this.#remaining;
    if (remaining === null) this.#answer(0);
    if (remaining === null || this.#loading || this.#retry !== undefined) return;

    const { active } = this.#emulator.buffer;
    const lines = this.#missingLines(remaining);
    if (active.type !== "normal" || lines === 0) {
      this.#answer(0);
      return;
    }

    this.#loading = true;
    const snapshot = this.#snapshot;
    const { before, generation } = remaining;
    this.#request({ before, generation, lines })
      .then((page) => draw(page))
      .then(
        (drawn) => {
          if (snapshot === this.#snapshot) this.#add(drawn);
        },
        (error: unknown) => {
          if (snapshot === this.#snapshot) this.#handleError(error);
        },
      );
  }

  /** Returns the number of lines to request now. */
  #missingLines({ before, first }: Remaining): number {
    const { lines, ybase, ydisp } = this.#core.buffers.normal;
    const room = Math.min(lines.maxLength - lines.length, before - first);
    const isWanted = this.#distance > ybase || this.#waiting.length > 0;
    if (isWanted) return Math.min(PAGE_LINES, room);
    if (ybase === 0) return Math.min(FIRST_LINES, room);
    return ydisp < MARGIN_ROWS ? Math.min(PAGE_LINES, room) : 0;
  }

  #add({ page, lines, links }: DrawnPage): void {
    this.#loading = false;
    const remaining = this.#remaining;
    const { normal } = this.#core.buffers;
    const isNext = page.to === remaining?.before && page.cols === this.#emulator.cols;
    const fits = normal.lines.length + lines.length <= normal.lines.maxLength;
    if (remaining === null || !isNext || !fits || lines.length === 0) {
      // The server has dropped the older lines, or a snapshot with other ones follows.
      this.#stop();
      this.#restorePosition();
      return;
    }

    moveLinks(lines, links, this.#core);
    normal.lines.splice(0, 0, ...lines);
    normal.ybase += lines.length;
    normal.ydisp += lines.length;
    normal.savedY += lines.length;
    // The selection moves down with its lines.
    this.#core._selectionService?._model.handleTrim(-lines.length);
    this.#core._viewport?._sync();
    this.#emulator.refresh(0, this.#emulator.rows - 1);

    remaining.before = page.from;
    remaining.first = page.first;
    this.#restorePosition();
    this.#answer(lines.length);
    this.#load();
  }

  /** Scrolls to the position before the snapshot, once its lines are loaded. */
  #restorePosition(): void {
    const { baseY } = this.#emulator.buffer.normal;
    const isLoaded = baseY >= this.#distance || this.#remaining === null;
    if (this.#distance === 0 || !isLoaded) return;

    this.#emulator.scrollToLine(Math.max(0, baseY - this.#distance));
    this.#distance = 0;
  }

  #handleError(error: unknown): void {
    this.#loading = false;
    if (error instanceof RejoinError && !error.retryable) {
      this.#stop();
      return;
    }

    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#load();
    }, RETRY_MS);
  }
}

interface DrawnPage {
  page: HistoryPage;
  lines: BufferLine[];
  /** The links by their ids in the lines. */
  links: Map<number, object>;
}

/** Draws a page with a terminal of its own. */
async function draw(page: HistoryPage): Promise<DrawnPage> {
  const count = page.to - page.from;
  if (count === 0) return { page, lines: [], links: new Map() };

  const emulator = new Terminal({
    ...ENGINE_OPTIONS,
    cols: page.cols,
    rows: count,
    scrollback: 0,
  });
  matchEngine(emulator);
  await new Promise<void>((resolve) => emulator.write(page.data, resolve));

  const core = coreOf(emulator);
  const lines: BufferLine[] = [];
  const links = new Map<number, object>();
  for (let row = 0; row < count; row++) {
    const line = core.buffers.normal.lines.get(row);
    if (line === undefined) continue;

    lines.push(line);
    for (const attributes of Object.values(line._extendedAttrs)) {
      const id = attributes?.urlId ?? 0;
      const link = id === 0 ? undefined : core._oscLinkService.getLinkData(id);
      if (link !== undefined) links.set(id, link);
    }
  }

  if (lines[0] !== undefined) lines[0].isWrapped = page.continues;
  emulator.dispose();
  return { page, lines, links };
}

/** Replaces the ids of links by those of another terminal. */
function moveLinks(lines: BufferLine[], links: Map<number, object>, core: Core): void {
  const ids = new Map<number, number>();
  for (const [id, link] of links) ids.set(id, core._oscLinkService.registerLink(link));

  // Several cells, also of several lines, share their attributes.
  const shared = new Set(lines.flatMap((line) => Object.values(line._extendedAttrs)));
  for (const attributes of shared) {
    if (attributes !== undefined) attributes.urlId = ids.get(attributes.urlId) ?? 0;
  }
}

function coreOf(emulator: Terminal): Core {
  return (emulator as unknown as { _core: Core })._core;
}
