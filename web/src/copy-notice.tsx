// The notice about a program's copy: the question, or the copied text.

import type { SessionClipboard } from "./clipboard";

export function CopyNotice({ clipboard }: { clipboard: SessionClipboard }) {
  const notice = clipboard.notice.value;
  if (notice === null) return null;

  const { state, preview } = notice;
  if (state === "too long") {
    return (
      <div class="copy-notice" role="status">
        <p>A program tried to copy more than 1 MiB. Nothing was copied.</p>
      </div>
    );
  }

  if (state === "copied") {
    return (
      <div class="copy-notice" role="status">
        <p>Copied to your clipboard:</p>
        <pre class="copy-preview">{preview}</pre>
      </div>
    );
  }

  return (
    <div class="copy-notice" role="alertdialog" aria-labelledby="copy-question">
      <p id="copy-question">A program in this terminal wants to copy to your clipboard:</p>
      <pre class="copy-preview">{preview}</pre>
      <p class="faint">
        Your choice applies to this terminal until you reload the page. Programs cannot read your
        clipboard.
      </p>
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
