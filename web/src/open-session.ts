// The open session: connects a terminal of the client to a screen.

import { computed, type Signal, signal } from "@preact/signals";
import {
  type Attached,
  type Connection,
  type Exit,
  type RejoinError,
  type Role,
  type SessionChange,
  type SessionStatus,
  Terminal,
} from "rejoin";
import { SessionClipboard } from "./clipboard";
import { connection } from "./connection";
import { Screen, type Size } from "./screen";
import { applyChange } from "./sessions";
import { terminalTheme } from "./theme";
import { hasEnded } from "./wording";

declare global {
  /** For the browser's console: the page's connection and the xterm.js on the screen. */
  var rejoin: { connection: Connection; terminal: Screen["emulator"] | null };
}
globalThis.rejoin = { connection, terminal: null };

const RESIZE_DELAY_MS = 80;

/** The size that fitted the last screen, as the initial size of new terminals. */
export const lastFittingSize = signal<Size>({ cols: 80, rows: 24 });

/** The state of the open session, apart from its output. */
export interface SessionDetails {
  status: SessionStatus;
  exit: Exit | null;
  reason: string | null;
  size: Size;
  role: Role;
  /** True if this window sets the session's size. Keeps its value while disconnected. */
  ownsSize: boolean;
}

/** A screen and the terminal that it shows. */
export class OpenSession {
  readonly screen: Screen;
  /** The modifiers of the key bar, applied to the next key. */
  readonly modifiers = signal({ ctrl: false, alt: false });
  readonly clipboard: SessionClipboard;
  /** True while the search is open. */
  readonly searching = signal(false);
  readonly #terminal: Terminal;
  readonly #details: Signal<SessionDetails | null>;
  readonly #stopEffects: () => void;
  #resizeTimer: ReturnType<typeof setTimeout> | undefined;

  /** Attaches to a session. Calls `failed` with null once an attach succeeds. */
  constructor(
    id: string,
    element: HTMLElement,
    details: Signal<SessionDetails | null>,
    failed: (error: RejoinError | null) => void,
  ) {
    this.#details = details;
    this.clipboard = new SessionClipboard(id);
    this.screen = new Screen(element, terminalTheme.value, {
      input: (data) => this.#type(data),
      fittingSize: (size) => this.#resize(size),
      copy: (base64) => this.clipboard.copy(base64),
      history: (query) => this.#terminal.history(query),
      search: () => {
        this.searching.value = true;
      },
    });
    lastFittingSize.value = this.screen.fittingSize;

    this.#terminal = new Terminal(connection, id, this.screen.fittingSize);
    this.#listen(failed);
    this.#stopEffects = this.#startEffects();

    globalThis.rejoin.terminal = this.screen.emulator;
    // On touch devices, the focus would open the keyboard.
    if (!matchMedia("(pointer: coarse)").matches) this.screen.emulator.focus();
  }

  /** Types a key of the key bar. */
  press(keys: string): void {
    this.#type(keys);
    this.screen.emulator.focus();
  }

  closeSearch(): void {
    this.searching.value = false;
    this.screen.emulator.focus();
  }

  close(): void {
    this.#stopEffects();
    clearTimeout(this.#resizeTimer);
    this.clipboard.close();
    this.#terminal.detach();
    this.screen.dispose();

    // The next session may have replaced it already.
    if (globalThis.rejoin.terminal === this.screen.emulator) globalThis.rejoin.terminal = null;
  }

  #listen(failed: (error: RejoinError | null) => void): void {
    const terminal = this.#terminal;
    terminal.on("attached", (attached) => {
      failed(null);
      this.#handleAttached(attached);
    });
    terminal.on("snapshot", (snapshot) => this.screen.replace(snapshot));
    terminal.on("output", (chunk) => this.screen.write(chunk));
    terminal.on("session", (change) => this.#handleChange(change));
    terminal.on("failed", failed);
  }

  #handleAttached(attached: Attached): void {
    const { verdict, status, exit = null, cols, rows, role, size_owner, title } = attached;
    // A resume starts at the screen's size; the size changes since then follow with the output.
    const previous = verdict === "resumed" ? this.#details.value?.size : undefined;
    const size = previous ?? { cols, rows };
    if (previous === undefined) this.screen.resize(size);

    const ownsSize = isThisConnection(size_owner);
    this.#details.value = { status, exit, reason: null, size, role, ownsSize };
    applyChange({ session: this.#terminal.session, status, title, ...(exit && { exit }) });
  }

  #handleChange(change: SessionChange): void {
    const known = this.#details.value;
    if (known === null) return;

    const size = { cols: change.cols ?? known.size.cols, rows: change.rows ?? known.size.rows };
    if (size.cols !== known.size.cols || size.rows !== known.size.rows) this.screen.resize(size);

    const { size_owner } = change;
    this.#details.value = {
      ...known,
      size,
      status: change.status ?? known.status,
      exit: change.exit ?? known.exit,
      reason: change.reason ?? known.reason,
      ownsSize: size_owner === undefined ? known.ownsSize : isThisConnection(size_owner),
    };
    applyChange(change);
  }

  #startEffects(): () => void {
    // An ended session keeps its size, so only scaling can fit it to this window.
    const isScaled = computed(() => {
      const details = this.#details.value;
      return details !== null && (!details.ownsSize || hasEnded(details.status));
    });
    const stops = [
      terminalTheme.subscribe((theme) => this.screen.setTheme(theme)),
      isScaled.subscribe((scaled) => this.screen.setScaled(scaled)),
      this.#details.subscribe((details) => {
        const isReadOnly =
          details !== null && (hasEnded(details.status) || details.role === "viewer");
        this.screen.emulator.options.disableStdin = isReadOnly;
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

  #resize(size: Size): void {
    lastFittingSize.value = size;
    clearTimeout(this.#resizeTimer);
    const resize = () => this.#terminal.resize(size.cols, size.rows);
    this.#resizeTimer = setTimeout(resize, RESIZE_DELAY_MS);
  }
}

function isThisConnection(id: string | null | undefined): boolean {
  const { state } = connection;
  return state.name === "connected" && state.auth.connection_id === id;
}
