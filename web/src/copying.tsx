// What programs copy: the question, and what was copied.

import type { Clipboard } from "./clipboard";

export function CopyingNote({ clipboard }: { clipboard: Clipboard }) {
  const shown = clipboard.shown.value;
  if (shown === null) return null;
  const { state, preview } = shown;
  if (state === "too long") {
    return (
      <div class="copying" role="status">
        <p>A program wanted to copy more than 1 MiB. Nothing was copied.</p>
      </div>
    );
  }
  if (state === "copied") {
    return (
      <div class="copying" role="status">
        <p>Copied to your clipboard:</p>
        <pre class="copied">{preview}</pre>
      </div>
    );
  }
  return (
    <div class="copying" role="alertdialog" aria-labelledby="copying">
      <p id="copying">A program in this terminal wants to copy to your clipboard:</p>
      <pre class="copied">{preview}</pre>
      <p class="faint">Your answer holds for this terminal until the page is loaded anew. Programs never read the clipboard.</p>
      <div class="dialog-actions">
        <button type="button" class="plain" onClick={() => clipboard.answer(false)}>
          Don’t allow
        </button>
        <button type="button" class="primary" onClick={() => clipboard.answer(true)}>
          Allow copying
        </button>
      </div>
    </div>
  );
}
