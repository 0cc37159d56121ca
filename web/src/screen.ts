// An xterm.js in an element: its output, its order, and its drawn size.

import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal as Emulator, type ITheme } from "@xterm/xterm";
import type { Chunk, Snapshot } from "rejoin";
import { acceptClipboard } from "./clipboard";
import { ENGINE_OPTIONS, matchEngine } from "./engine";
import { HistoryLoader, type RequestHistory } from "./history";
import { type QuerySuppressor, suppressQueries } from "./queries";
import { ScreenSearch } from "./search";
import { Utf8Splitter } from "./utf8-splitter";

const FONT_FAMILY =
  'ui-monospace, "SF Mono", "Cascadia Mono", "Segoe UI Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const FONT_PX = 14;
/** Below it, some fonts lose their underscores at the bottom of the line. */
const LINE_HEIGHT = 1.1;
const MIN_FONT_PX = 4;
const SCROLLBACK_LINES = 10_000;
/** The width of the scroll bar, which xterm.js draws over the right edge. */
const SCROLLBAR_PX = 12;

/** Ends a cut sequence, resets the terminal, then the colours, which a reset keeps. */
const RESET = new TextEncoder().encode("\x18\x1bc\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07");
/** Software renderers, which not every browser reports as a performance caveat. */
const SOFTWARE_RENDERERS = /swiftshader|llvmpipe|softpipe|basic render/i;

export interface Size {
  cols: number;
  rows: number;
}

export interface ScreenEvents {
  input: (data: string | Uint8Array) => void;
  /** The size that fits the element has changed. */
  fittingSize: (size: Size) => void;
  /** A program copies a text, encoded in base64. */
  copy: (base64: string) => void;
  /** Returns lines above the screen. */
  history: RequestHistory;
  /** The user wants to search. */
  search: () => void;
}

export class Screen {
  readonly emulator: Emulator;
  readonly search: ScreenSearch;
  readonly #element: HTMLElement;
  readonly #events: ScreenEvents;
  readonly #queries: QuerySuppressor;
  readonly #history: HistoryLoader;
  readonly #observer: ResizeObserver;
  readonly #splitter = new Utf8Splitter();
  /** The size of a cell at the normal font size, in CSS pixels. */
  #cell = { width: 8.4, height: 17 };
  #scaled = false;
  /** The pixel ratio of `#cell`: zooming changes the rounding of cells. */
  #ratio = devicePixelRatio;
  #frame = 0;
  #disposed = false;

  constructor(element: HTMLElement, theme: ITheme, events: ScreenEvents) {
    this.#element = element;
    this.#events = events;
    this.emulator = new Emulator({
      ...ENGINE_OPTIONS,
      fontFamily: FONT_FAMILY,
      fontSize: FONT_PX,
      lineHeight: LINE_HEIGHT,
      scrollback: SCROLLBACK_LINES,
      rescaleOverlappingGlyphs: true,
      theme,
      linkHandler: { activate: (_event, link) => openLink(link) },
    });

    const { emulator } = this;
    // The order matters: handlers registered later run first, and both drop clipboard queries.
    acceptClipboard(emulator, events.copy);
    this.#queries = suppressQueries(emulator);
    matchEngine(emulator);
    this.#history = new HistoryLoader(emulator, events.history);
    this.search = new ScreenSearch(emulator, this.#history);
    emulator.loadAddon(new WebLinksAddon((_event, link) => openLink(link)));
    emulator.onData((data) => {
      if (!this.#queries.suppressing) events.input(data);
    });
    // X10 mouse reports are bytes, not text.
    emulator.onBinary((data) => events.input(Uint8Array.from(data, (char) => char.charCodeAt(0))));
    emulator.attachCustomKeyEventHandler((event) => this.#handleKey(event));

    emulator.open(element);
    void this.#useGpu();
    this.#measure();
    this.#observer = new ResizeObserver(() => this.#scheduleLayout());
    this.#observer.observe(element);
  }

  /** The size that fits the element at the normal font size. */
  get fittingSize(): Size {
    const { clientWidth, clientHeight } = this.#element;
    // The bounds are those of the server.
    return {
      cols: Math.min(
        1000,
        Math.max(2, Math.floor((clientWidth - SCROLLBAR_PX) / this.#cell.width)),
      ),
      rows: Math.min(500, Math.max(1, Math.floor(clientHeight / this.#cell.height))),
    };
  }

  /** Writes output. */
  write({ bytes, parsed }: Chunk): void {
    const pieces = this.#splitter.take(bytes);
    // Only the last piece reports the chunk as parsed; an empty one does if nothing is left.
    const last = pieces.pop() ?? "";
    for (const piece of pieces) this.emulator.write(piece);
    this.emulator.write(last, parsed);
  }

  /** Replaces the whole state with a snapshot. */
  replace({ bytes, parsed, history }: Snapshot): void {
    this.#splitter.clear();
    this.emulator.write("", () => this.#history.beginSnapshot());
    // A reset keeps the options that output has changed.
    this.emulator.write("", () => {
      this.emulator.options.convertEol = false;
      this.emulator.options.cursorBlink = false;
    });
    this.emulator.write(RESET);
    this.write({
      bytes,
      parsed: () => {
        this.#history.endSnapshot(history);
        parsed();
      },
    });
  }

  /** Resizes after all output written before. */
  resize({ cols, rows }: Size): void {
    this.emulator.write("", () => {
      this.emulator.resize(cols, rows);
      this.#layout();
    });
  }

  /** Sets whether a size that does not fit is drawn smaller. */
  setScaled(scaled: boolean): void {
    if (this.#scaled === scaled) return;

    this.#scaled = scaled;
    this.#layout();
  }

  setTheme(theme: ITheme): void {
    this.emulator.options.theme = theme;
  }

  dispose(): void {
    this.#disposed = true;
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#queries.dispose();
    this.#history.dispose();
    this.emulator.dispose();
  }

  /** Combines consecutive changes of the element's size into one layout. */
  #scheduleLayout(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      if (devicePixelRatio !== this.#ratio) this.#measure();
      this.#layout();
      this.#events.fittingSize(this.fittingSize);
    });
  }

  #layout(): void {
    const { cols, rows } = this.emulator;
    const { clientWidth, clientHeight } = this.#element;
    // A hidden element has no size that could fit.
    if (clientWidth === 0 || clientHeight === 0) return;

    const fitting = this.fittingSize;
    if (!this.#scaled || (cols <= fitting.cols && rows <= fitting.rows)) {
      this.#setFont(FONT_PX);
      return;
    }

    const width = (clientWidth - SCROLLBAR_PX) / (cols * this.#cell.width);
    const height = clientHeight / (rows * this.#cell.height);
    this.#setFont(Math.max(MIN_FONT_PX, Math.floor(FONT_PX * Math.min(width, height) * 2) / 2));
    // Cells are whole device pixels, so the estimate may be slightly too large.
    while (!this.#fits() && this.#font > MIN_FONT_PX) this.#setFont(this.#font - 0.5);
  }

  get #font(): number {
    return this.emulator.options.fontSize ?? FONT_PX;
  }

  #setFont(px: number): void {
    if (this.#font !== px) this.emulator.options.fontSize = px;
  }

  #screenRect(): DOMRect | undefined {
    return this.emulator.element?.querySelector(".xterm-screen")?.getBoundingClientRect();
  }

  #fits(): boolean {
    const drawn = this.#screenRect();
    if (drawn === undefined) return true;
    return (
      drawn.width <= this.#element.clientWidth - SCROLLBAR_PX &&
      drawn.height <= this.#element.clientHeight
    );
  }

  #measure(): void {
    // Measured at the normal size, which all scaled sizes are computed from.
    this.#setFont(FONT_PX);
    this.#ratio = devicePixelRatio;
    const drawn = this.#screenRect();
    if (drawn === undefined || drawn.width === 0) return;

    this.#cell = {
      width: drawn.width / this.emulator.cols,
      height: drawn.height / this.emulator.rows,
    };
  }

  /** Draws with the GPU if there is one, and without it after a context loss. */
  async #useGpu(): Promise<void> {
    if (!hasGpu()) return;

    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      if (this.#disposed) return;

      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.emulator.loadAddon(webgl);
      this.#measure();
      this.#scheduleLayout();
    } catch {
      // xterm.js then draws with DOM elements, which is slower and looks the same.
    }
  }

  /** Handles the page's own keys. Returns `false` for keys that the terminal must not get. */
  #handleKey(event: KeyboardEvent): boolean {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "KeyC" && this.emulator.hasSelection()) {
      event.preventDefault();
      navigator.clipboard?.writeText(this.emulator.getSelection()).catch(() => {});
      return false;
    }

    if (event.code === "KeyF") {
      event.preventDefault();
      this.#events.search();
      return false;
    }

    // The browser pastes (V), or the page moves the focus to the list (L).
    return event.code !== "KeyV" && event.code !== "KeyL";
  }
}

/** Returns `true` if a GPU draws WebGL. Software WebGL is slower than DOM elements. */
function hasGpu(): boolean {
  const context = document
    .createElement("canvas")
    .getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;

  const name =
    context.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER;
  const software = SOFTWARE_RENDERERS.test(String(context.getParameter(name)));
  // Released at once, because browsers limit the number of contexts.
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !software;
}

function openLink(link: string): void {
  if (/^https?:/i.test(link)) window.open(link, "_blank", "noopener,noreferrer");
}
