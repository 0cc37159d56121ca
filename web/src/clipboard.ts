// Copying by programs (OSC 52), after the user allowed it. Programs cannot read the clipboard.

import { type ReadonlySignal, signal } from "@preact/signals";
import type { IDisposable, Terminal } from "@xterm/xterm";

const OSC_CLIPBOARD = 52;
/** The limit of one copy, in bytes. */
const MAX_COPY_BYTES = 1024 * 1024;
const MAX_COPY_BASE64 = Math.ceil(MAX_COPY_BYTES / 3) * 4;
/** The limit of the preview, in characters. */
const PREVIEW_CHARACTERS = 160;
const NOTICE_MS = 4_000;

/** A notice about a copy. */
export interface CopyState {
  state: "asking" | "copied" | "too long";
  preview: string;
}

/** The user's answers on this page, by session: each session is asked about once. */
const answers = new Map<string, boolean>();

/** Calls `copy` for each copy of a program. Drops queries for the clipboard. */
export function acceptClipboard(
  { parser }: Pick<Terminal, "parser">,
  copy: (base64: string) => void,
): IDisposable {
  return parser.registerOscHandler(OSC_CLIPBOARD, (data) => {
    const base64 = data.slice(data.indexOf(";") + 1);
    if (base64 !== "?" && base64 !== "") copy(base64);
    return true;
  });
}

/** The clipboard as the programs of one session may use it. */
export class SessionClipboard {
  readonly #session: string;
  readonly #notice = signal<CopyState | null>(null);
  /** The text that the user is asked about. Later copies do not replace what was previewed. */
  #asked: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(session: string) {
    this.#session = session;
  }

  get notice(): ReadonlySignal<CopyState | null> {
    return this.#notice;
  }

  /** Copies, asks or drops the text. Only the focused page acts: all tabs get the same output. */
  copy(base64: string): void {
    const allowed = answers.get(this.#session);
    if (allowed === false || this.#asked !== null || !document.hasFocus()) return;

    // Pages without TLS have no clipboard.
    if (!navigator.clipboard) return;

    if (base64.length > MAX_COPY_BASE64) {
      this.#show({ state: "too long", preview: "" });
      return;
    }

    const text = decode(base64);
    if (!text) return;
    if (allowed) {
      this.#write(text);
      return;
    }

    this.#asked = text;
    clearTimeout(this.#timer);
    this.#notice.value = { state: "asking", preview: preview(text) };
  }

  /** Records the user's answer for this session, until the page is reloaded. */
  answer(allowed: boolean): void {
    const text = this.#asked;
    this.#asked = null;
    this.#notice.value = null;

    answers.set(this.#session, allowed);
    if (allowed && text !== null) this.#write(text);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #write(text: string): void {
    const notice = { state: "copied", preview: preview(text) } as const;
    void navigator.clipboard.writeText(text).then(
      () => this.#show(notice),
      () => {},
    );
  }

  #show(notice: CopyState): void {
    this.#notice.value = notice;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#asked === null) this.#notice.value = null;
    }, NOTICE_MS);
  }
}

/**
 * Returns the beginning of a text on one line.
 *
 * Replaces control and formatting characters, which could disguise the text.
 */
export function preview(text: string): string {
  // Characters, not UTF-16 units: half a surrogate pair would be shown as a replacement character.
  const characters = Array.from(text.slice(0, 2 * PREVIEW_CHARACTERS));
  const begin = characters.slice(0, PREVIEW_CHARACTERS).join("");

  const visible = begin
    .replaceAll(/\r\n?|\n/g, "⏎")
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "·");
  return begin.length < text.length ? `${visible}… (${text.length} characters)` : visible;
}

function decode(base64: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return null;
  }
}
