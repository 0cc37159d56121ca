// Which session the address names: `#/s/<id>`.

import { signal } from "@preact/signals";

export const openSession = signal<string | null>(readAddress());

export function addressOf(session: string): string {
  return `#/s/${encodeURIComponent(session)}`;
}

export function goTo(session: string | null): void {
  location.hash = session === null ? "#/" : addressOf(session);
}

function readAddress(): string | null {
  const id = /^#\/s\/([^/]+)$/.exec(location.hash)?.[1];
  return id === undefined ? null : decodeURIComponent(id);
}

addEventListener("hashchange", () => {
  openSession.value = readAddress();
});
