// Notices that disappear after a while.

import { signal } from "@preact/signals";
import { RejoinError } from "rejoin";
import { asSentence } from "./wording";

const SHOWN_MS = 8_000;
const MAX_NOTICES = 3;

interface Notice {
  id: number;
  text: string;
}

const notices = signal<Notice[]>([]);
let lastId = 0;

/** Shows a notice. Ignores a text that is shown already. */
export function notify(text: string): void {
  if (notices.value.some((notice) => notice.text === text)) return;

  const notice = { id: ++lastId, text };
  notices.value = [...notices.value, notice].slice(-MAX_NOTICES);
  setTimeout(() => dismiss(notice.id), SHOWN_MS);
}

/** Shows a failure and its cause. */
export function notifyFailure(failure: string, error: unknown): void {
  notify(`${failure} ${explain(error)}`);
}

function explain(error: unknown): string {
  return error instanceof RejoinError
    ? asSentence(error.message)
    : "The server could not be reached.";
}

function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function Notices() {
  return (
    <div class="notices" role="alert">
      {notices.value.map(({ id, text }) => (
        <div class="notice" key={id}>
          <p>{text}</p>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
