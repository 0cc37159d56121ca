// A screen and the terminal that it shows, wired together.

import { computed, type Signal, signal } from "@preact/signals";
import { type Connection, type Exit, type RejoinError, type Role, type SessionStatus, Terminal } from "rejoin";
import { Clipboard } from "./clipboard";
import { connection } from "./link";
import { Screen, type Size } from "./screen";
import { noteChange } from "./sessions";
import { terminalTheme } from "./theme";
import { hasEnded } from "./wording";

declare global {
  /** For the browser's console: the page's connection, and the xterm.js that is on the screen. */
  var rejoin: { connection: Connection; terminal: Screen["emulator"] | null };
}
globalThis.rejoin = { connection, terminal: null };

const RESIZE_MS = 80;

/** What the last screen had room for: a new terminal is likely to get the same. */
export const lastRoom = signal<Size>({ cols: 80, rows: 24 });

/** What is known of the open session, beside its output. */
export interface Facts {
  status: SessionStatus;
  exit: Exit | null;
  reason: string | null;
  size: Size;
  role: Role;
  /** Whether this window's size is the session's; while it has no connection, what was last known. */
  ownsSize: boolean;
}

/** A screen and the terminal that it shows. */
export class OpenSession {
  readonly screen: Screen;
  /** Of the key bar: applied to the next key. */
  readonly modifiers = signal({ ctrl: false, alt: false });
  readonly clipboard: Clipboard;
  readonly #terminal: Terminal;
  readonly #facts: Signal<Facts | null>;
  readonly #stopEffects: () => void;
  #resizing: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string, element: HTMLElement, facts: Signal<Facts | null>, fail: (error: RejoinError | null) => void) {
    this.#facts = facts;
    this.clipboard = new Clipboard(id);
    this.screen = new Screen(element, terminalTheme.value, {
      input: (data) => this.#type(data),
      room: (size) => this.#room(size),
      copy: (base64) => this.clipboard.copy(base64),
    });
    lastRoom.value = this.screen.room;
    this.#terminal = new Terminal(connection, id, this.screen.room);
    this.#follow(fail);
    this.#stopEffects = this.#watch();
    globalThis.rejoin.terminal = this.screen.emulator;
    if (!matchMedia("(pointer: coarse)").matches) this.screen.emulator.focus();
  }

  /** A key of the key bar. */
  press(keys: string): void {
    this.#type(keys);
    this.screen.emulator.focus();
  }

  close(): void {
    this.#stopEffects();
    clearTimeout(this.#resizing);
    this.clipboard.close();
    this.#terminal.detach();
    this.screen.dispose();
    if (globalThis.rejoin.terminal === this.screen.emulator) globalThis.rejoin.terminal = null;
  }

  #follow(fail: (error: RejoinError | null) => void): void {
    const terminal = this.#terminal;
    terminal.on("attached", ({ verdict, status, exit, cols, rows, role, size_owner, title }) => {
      fail(null);
      // What is resumed goes on at the size that it was left at; the changes since come with the output.
      const left = verdict === "resumed" ? this.#facts.value?.size : undefined;
      const size = left ?? { cols, rows };
      if (left === undefined) this.screen.resize(size);
      this.#facts.value = { status, exit: exit ?? null, reason: null, size, role, ownsSize: isHere(size_owner) };
      noteChange({ session: terminal.session, status, title, ...(exit && { exit }) });
    });
    terminal.on("snapshot", (chunk) => this.screen.replace(chunk));
    terminal.on("output", (chunk) => this.screen.write(chunk));
    terminal.on("session", (change) => {
      const known = this.#facts.value;
      if (known === null) return;
      const size = { cols: change.cols ?? known.size.cols, rows: change.rows ?? known.size.rows };
      if (size.cols !== known.size.cols || size.rows !== known.size.rows) this.screen.resize(size);
      this.#facts.value = {
        ...known,
        size,
        status: change.status ?? known.status,
        exit: change.exit ?? known.exit,
        reason: change.reason ?? known.reason,
        ownsSize: change.size_owner === undefined ? known.ownsSize : isHere(change.size_owner),
      };
      noteChange(change);
    });
    terminal.on("failed", fail);
  }

  #watch(): () => void {
    // The size of what has ended cannot change any more.
    const fixed = computed(() => {
      const facts = this.#facts.value;
      return facts !== null && (!facts.ownsSize || hasEnded(facts.status));
    });
    const stops = [
      terminalTheme.subscribe((theme) => this.screen.setTheme(theme)),
      fixed.subscribe((scaled) => this.screen.scale(scaled)),
      this.#facts.subscribe((facts) => {
        this.screen.emulator.options.disableStdin = facts !== null && (hasEnded(facts.status) || facts.role === "viewer");
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  #type(data: string | Uint8Array): void {
    const { ctrl, alt } = this.modifiers.value;
    if (typeof data !== "string" || data.length !== 1 || !(ctrl || alt)) {
      this.#terminal.input(data);
      return;
    }
    this.modifiers.value = { ctrl: false, alt: false };
    const code = data.toUpperCase().charCodeAt(0);
    // Ctrl keeps the low five bits of the characters from @ to _.
    const key = ctrl && code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : data;
    this.#terminal.input(alt ? `\x1b${key}` : key);
  }

  #room(size: Size): void {
    lastRoom.value = size;
    clearTimeout(this.#resizing);
    this.#resizing = setTimeout(() => this.#terminal.resize(size.cols, size.rows), RESIZE_MS);
  }
}

/** Whether a connection is this page's. */
function isHere(id: string | null | undefined): boolean {
  const { state } = connection;
  return state.name === "connected" && state.auth.connection_id === id;
}
