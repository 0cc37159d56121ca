// Who is logged in: the token, where it comes from and where it is kept.

import { signal } from "@preact/signals";

const TOKEN_KEY = "rejoin.token";
const DEVICE_KEY = "rejoin.device";
const FRAGMENT = /#login=([^&\s]+)/;

/** Null while nobody is logged in. */
export const token = signal<string | null>(takeFromAddress() ?? localStorage.getItem(TOKEN_KEY));

/** Why the log-in page is shown, if there is something to say. */
export const logInReason = signal<string | null>(null);

export function logIn(text: string): void {
  const found = FRAGMENT.exec(text)?.[1] ?? text.trim();
  if (found === "") return;
  localStorage.setItem(TOKEN_KEY, found);
  logInReason.value = null;
  token.value = found;
}

export function logOut(reason: string | null = null): void {
  localStorage.removeItem(TOKEN_KEY);
  logInReason.value = reason;
  token.value = null;
}

/** The same for all tabs of this browser. */
export function device(): { id: string; name: string } {
  let id = localStorage.getItem(DEVICE_KEY);
  if (id === null) {
    id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(DEVICE_KEY, id);
  }
  return { id, name: deviceName(navigator.userAgent) };
}

function deviceName(agent: string): string {
  const browser = /Edg|Firefox|Chrome|Safari/.exec(agent)?.[0].replace("Edg", "Edge") ?? "Browser";
  const system = /Android|iPhone|iPad|Windows|Mac OS|Linux/.exec(agent)?.[0] ?? "unknown system";
  return `${browser} on ${system}`;
}

/** A log-in link's token must not stay in the address, nor in the history. */
function takeFromAddress(): string | null {
  const found = FRAGMENT.exec(location.hash)?.[1] ?? null;
  if (found !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    localStorage.setItem(TOKEN_KEY, found);
  }
  return found;
}

// Other tabs log in and out too.
addEventListener("storage", (event) => {
  if (event.key === TOKEN_KEY || event.key === null) token.value = localStorage.getItem(TOKEN_KEY);
});

// A log-in link may be opened in a tab that is already here.
addEventListener("hashchange", () => {
  const found = takeFromAddress();
  if (found !== null) logIn(found);
});
