// What a connection is made with.

import type { WebSocketConstructor } from "./socket.js";

/** Asked on each attempt, and when the token ends, so that it is replaced; null means: log in first. */
export type TokenProvider = () => string | null | Promise<string | null>;

export interface ConnectionOptions {
  /** The endpoint, such as `wss://example.org/ws`. */
  url: string;
  /** Left out on pages whose cookie logs them in. */
  token?: TokenProvider;
  /** Names the device; the id should stay the same over its connections. */
  device?: { id: string; name?: string };
  /** For runtimes without a global `WebSocket`. */
  WebSocket?: WebSocketConstructor;
}

/** The endpoint for a log-in by cookie: there is no message to name the device in. */
export function urlWithDevice({ url, device }: ConnectionOptions): string {
  if (device === undefined) return url;
  const named = new URL(url, globalThis.location?.href);
  named.searchParams.set("device_id", device.id);
  if (device.name) named.searchParams.set("device_name", device.name);
  return named.href;
}
