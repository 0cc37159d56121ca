// What the address names, below the page's base: `#/s/<id>` a session, `#/devices` the devices.

import { computed, signal } from "@preact/signals";

export type Route = { name: "home" } | { name: "session"; id: string } | { name: "devices" };

export const DEVICES_ADDRESS = "#/devices";

export const route = signal<Route>(readAddress());

export const openSession = computed(() => (route.value.name === "session" ? route.value.id : null));

export function addressOf(session: string): string {
  return `#/s/${encodeURIComponent(session)}`;
}

export function goTo(session: string | null): void {
  location.hash = session === null ? "#/" : addressOf(session);
}

function readAddress(): Route {
  if (location.hash === DEVICES_ADDRESS) return { name: "devices" };
  const id = /^#\/s\/([^/]+)$/.exec(location.hash)?.[1];
  return id === undefined ? { name: "home" } : { name: "session", id: decode(id) };
}

/** What is no encoding names a session that is not there. */
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
