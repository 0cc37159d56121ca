// Lets programs fill the clipboard (OSC 52) once the person has agreed; nothing lets them read it.

import { type ReadonlySignal, signal } from "@preact/signals";
import type { IDisposable, Terminal } from "@xterm/xterm";

const OSC_CLIPBOARD = 52;
/** What a program may copy at once, in bytes. */
const MAX_COPY_BYTES = 1024 * 1024;
const MAX_COPY_BASE64 = Math.ceil(MAX_COPY_BYTES / 3) * 4;
/** What is shown of it, in characters. */
const PREVIEW_CHARACTERS = 160;
const COPIED_MS = 4_000;

/** What there is to show of a program's copy. */
export interface Copying {
  state: "asking" | "copied" | "too long";
  preview: string;
}

/** The answers of this page's person, by session: asked once for each. */
const answers = new Map<string, boolean>();

/** Reads what programs copy. Queries are swallowed, whatever the answer. */
export function acceptClipboard({ parser }: Pick<Terminal, "parser">, copy: (base64: string) => void): IDisposable {
  return parser.registerOscHandler(OSC_CLIPBOARD, (data) => {
    const base64 = data.slice(data.indexOf(";") + 1);
    if (base64 !== "?" && base64 !== "") copy(base64);
    return true;
  });
}

/** The clipboard as one session's programs may use it. */
export class Clipboard {
  readonly #session: string;
  readonly #shown = signal<Copying | null>(null);
  /** What is asked about. It stays while others come, so that what is copied is what was shown. */
  #asked: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(session: string) {
    this.#session = session;
  }

  get shown(): ReadonlySignal<Copying | null> {
    return this.#shown;
  }

  /** A program copies. Only the page that has the focus takes it: the same output reaches other tabs too. */
  copy(base64: string): void {
    const allowed = answers.get(this.#session);
    // Without TLS, browsers have no clipboard for pages.
    if (allowed === false || this.#asked !== null || !document.hasFocus() || !navigator.clipboard) return;
    if (base64.length > MAX_COPY_BASE64) {
      this.#show({ state: "too long", preview: "" });
      return;
    }
    const text = decode(base64);
    if (!text) return;
    if (allowed) this.#write(text);
    else {
      this.#asked = text;
      clearTimeout(this.#timer);
      this.#shown.value = { state: "asking", preview: preview(text) };
    }
  }

  /** The person's answer, for all that this session's programs copy until the page is loaded anew. */
  answer(allowed: boolean): void {
    const text = this.#asked;
    this.#asked = null;
    this.#shown.value = null;
    answers.set(this.#session, allowed);
    if (allowed && text !== null) this.#write(text);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #write(text: string): void {
    const shown = { state: "copied", preview: preview(text) } as const;
    void navigator.clipboard.writeText(text).then(
      () => this.#show(shown),
      () => {},
    );
  }

  #show(copying: Copying): void {
    this.#shown.value = copying;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#asked === null) this.#shown.value = null;
    }, COPIED_MS);
  }
}

/** The beginning of a text on one line, with nothing that changes how it is drawn. */
export function preview(text: string): string {
  const begin = Array.from(text.slice(0, 2 * PREVIEW_CHARACTERS)).slice(0, PREVIEW_CHARACTERS).join("");
  const visible = begin.replaceAll(/\r\n?|\n/g, "⏎").replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "·");
  return begin.length < text.length ? `${visible}… (${text.length} characters)` : visible;
}

function decode(base64: string): string | null {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
  } catch {
    return null;
  }
}
