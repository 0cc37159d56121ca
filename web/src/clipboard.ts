// Lets programs fill the clipboard (OSC 52); nothing lets them read it.

import type { IDisposable, Terminal } from "@xterm/xterm";

const OSC_CLIPBOARD = 52;

/** Only the page that has the focus writes: the same output reaches other tabs too. */
export function acceptClipboard({ parser }: Pick<Terminal, "parser">): IDisposable {
  return parser.registerOscHandler(OSC_CLIPBOARD, (data) => {
    const text = decode(data.slice(data.indexOf(";") + 1));
    // Without TLS, browsers have no clipboard for pages.
    if (text && document.hasFocus()) navigator.clipboard?.writeText(text).catch(() => {});
    return true;
  });
}

function decode(base64: string): string | null {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
  } catch {
    return null;
  }
}
