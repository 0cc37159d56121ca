// One xterm.js in one element: what is parsed, in which order, and how large it is drawn.

import { WebLinksAddon } from "@xterm/addon-web-links";
import { type ITheme, Terminal as Emulator } from "@xterm/xterm";
import type { Chunk } from "rejoin";
import { Characters } from "./characters";
import { acceptClipboard } from "./clipboard";
import { ENGINE_OPTIONS, followEngine } from "./engine";
import { type Muted, swallowQueries } from "./queries";

const FONT_FAMILY = 'ui-monospace, "SF Mono", "Cascadia Mono", "Segoe UI Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const FONT_PX = 14;
/** Below it, some fonts lose their underscores at the lower edge of the line. */
const LINE_HEIGHT = 1.1;
const SMALLEST_FONT_PX = 4;
const SCROLLBACK_LINES = 10_000;
/** xterm.js draws its scroll bar over the right edge. */
const SCROLLBAR_PX = 12;

/** Ends whatever sequence was cut off, then resets all, then the colours, which a reset leaves. */
const RESET = new TextEncoder().encode("\x18\x1bc\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07");
/** They do not count as a performance caveat everywhere. */
const SOFTWARE_RENDERERS = /swiftshader|llvmpipe|softpipe|basic render/i;

export interface Size {
  cols: number;
  rows: number;
}

export interface ScreenEvents {
  input: (data: string | Uint8Array) => void;
  /** What could be shown here changed. */
  room: (size: Size) => void;
  /** A program copies: base64, as it wrote it. */
  copy: (base64: string) => void;
}

export class Screen {
  readonly emulator: Emulator;
  readonly #element: HTMLElement;
  readonly #events: ScreenEvents;
  readonly #queries: Muted;
  readonly #observer: ResizeObserver;
  readonly #characters = new Characters();
  /** Of one cell at the normal font size, in CSS pixels. */
  #cell = { width: 8.4, height: 17 };
  #scaled = false;
  /** What the cell was measured at: zooming changes the rounding of cells. */
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
    // Handlers registered later are asked first: a query for the clipboard is swallowed by both.
    acceptClipboard(emulator, events.copy);
    this.#queries = swallowQueries(emulator);
    followEngine(emulator);
    emulator.loadAddon(new WebLinksAddon((_event, link) => openLink(link)));
    emulator.onData((data) => {
      if (!this.#queries.muted) events.input(data);
    });
    // Mouse reports of the oldest kind are bytes, not text.
    emulator.onBinary((data) => events.input(Uint8Array.from(data, (char) => char.charCodeAt(0))));
    emulator.attachCustomKeyEventHandler((event) => this.#key(event));
    emulator.open(element);
    void this.#useGpu();
    this.#measure();
    this.#observer = new ResizeObserver(() => this.#settle());
    this.#observer.observe(element);
  }

  /** The size that could be shown here at the normal font size. */
  get room(): Size {
    const { clientWidth, clientHeight } = this.#element;
    return {
      cols: Math.min(1000, Math.max(2, Math.floor((clientWidth - SCROLLBAR_PX) / this.#cell.width))),
      rows: Math.min(500, Math.max(1, Math.floor(clientHeight / this.#cell.height))),
    };
  }

  write({ bytes, parsed }: Chunk): void {
    const pieces = this.#characters.take(bytes);
    const last = pieces.pop() ?? "";
    for (const piece of pieces) this.emulator.write(piece);
    this.emulator.write(last, parsed);
  }

  /** Puts a whole state in place of what is there. */
  replace(chunk: Chunk): void {
    this.#characters.clear();
    // Resets leave what the output changed in the options.
    this.emulator.write("", () => {
      this.emulator.options.convertEol = false;
      this.emulator.options.cursorBlink = false;
    });
    this.emulator.write(RESET);
    this.write(chunk);
  }

  /** Changes the size behind all output that came before. */
  resize({ cols, rows }: Size): void {
    this.emulator.write("", () => {
      this.emulator.resize(cols, rows);
      this.#draw();
    });
  }

  /** Whether a size that does not fit is to be drawn smaller; its owner's soon fits by itself. */
  scale(scaled: boolean): void {
    if (this.#scaled === scaled) return;
    this.#scaled = scaled;
    this.#draw();
  }

  setTheme(theme: ITheme): void {
    this.emulator.options.theme = theme;
  }

  dispose(): void {
    this.#disposed = true;
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#queries.dispose();
    this.emulator.dispose();
  }

  /** Many changes of the element's size in a row are one. */
  #settle(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      if (devicePixelRatio !== this.#ratio) this.#measure();
      this.#draw();
      this.#events.room(this.room);
    });
  }

  #draw(): void {
    const { cols, rows } = this.emulator;
    const { clientWidth, clientHeight } = this.#element;
    if (clientWidth === 0 || clientHeight === 0) return;
    const room = this.room;
    if (!this.#scaled || (cols <= room.cols && rows <= room.rows)) {
      this.#setFont(FONT_PX);
      return;
    }
    const width = (clientWidth - SCROLLBAR_PX) / (cols * this.#cell.width);
    const height = clientHeight / (rows * this.#cell.height);
    this.#setFont(Math.max(SMALLEST_FONT_PX, Math.floor(FONT_PX * Math.min(width, height) * 2) / 2));
    // Cells are whole device pixels, so the estimate may be a little too large.
    while (!this.#fits() && this.#font > SMALLEST_FONT_PX) this.#setFont(this.#font - 0.5);
  }

  get #font(): number {
    return this.emulator.options.fontSize ?? FONT_PX;
  }

  #setFont(px: number): void {
    if (this.#font !== px) this.emulator.options.fontSize = px;
  }

  #drawn(): DOMRect | undefined {
    return this.emulator.element?.querySelector(".xterm-screen")?.getBoundingClientRect();
  }

  #fits(): boolean {
    const drawn = this.#drawn();
    if (drawn === undefined) return true;
    return drawn.width <= this.#element.clientWidth - SCROLLBAR_PX && drawn.height <= this.#element.clientHeight;
  }

  #measure(): void {
    this.#setFont(FONT_PX);
    this.#ratio = devicePixelRatio;
    const drawn = this.#drawn();
    if (drawn === undefined || drawn.width === 0) return;
    this.#cell = { width: drawn.width / this.emulator.cols, height: drawn.height / this.emulator.rows };
  }

  /** Draws with the GPU where there is a real one, and goes on without it when it is lost. */
  async #useGpu(): Promise<void> {
    if (!hasGpu()) return;
    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      if (this.#disposed) return;
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.emulator.loadAddon(webgl);
      this.#measure();
      this.#settle();
    } catch {
      // xterm.js draws with elements then, which is slower and looks the same.
    }
  }

  /** False keeps a key from the terminal. */
  #key(event: KeyboardEvent): boolean {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "KeyC" && this.emulator.hasSelection()) {
      event.preventDefault();
      navigator.clipboard?.writeText(this.emulator.getSelection()).catch(() => {});
      return false;
    }
    // The browser pastes, or moves the focus to the list.
    return event.code !== "KeyV" && event.code !== "KeyL";
  }
}

/** Whether WebGL is drawn by a GPU; where the processor does it, drawing with elements is faster. */
function hasGpu(): boolean {
  const context = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;
  const name = context.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER;
  const software = SOFTWARE_RENDERERS.test(String(context.getParameter(name)));
  // Browsers allow few contexts at a time.
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !software;
}

function openLink(link: string): void {
  if (/^https?:/i.test(link)) window.open(link, "_blank", "noopener,noreferrer");
}
