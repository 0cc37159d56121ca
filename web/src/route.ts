// The route in the address: `#/s/<id>` for a session, `#/devices` for the devices.

import { computed, signal } from "@preact/signals";

export type Route = { name: "home" } | { name: "session"; id: string } | { name: "devices" };

export const DEVICES_ADDRESS = "#/devices";

export const route = signal<Route>(readAddress());

export const openSession = computed(() => (route.value.name === "session" ? route.value.id : null));

/** Returns the address of a session. */
export function addressOf(session: string): string {
  return `#/s/${encodeURIComponent(session)}`;
}

/** Opens a session, or the start page for null. */
export function goTo(session: string | null): void {
  location.hash = session === null ? "#/" : addressOf(session);
}

function readAddress(): Route {
  if (location.hash === DEVICES_ADDRESS) return { name: "devices" };

  const id = /^#\/s\/([^/]+)$/.exec(location.hash)?.[1];
  return id === undefined ? { name: "home" } : { name: "session", id: decode(id) };
}

/** Decodes an id. An invalid encoding is kept: it names a session that does not exist. */
function decode(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

addEventListener("hashchange", () => {
  route.value = readAddress();
});
