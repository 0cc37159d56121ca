// The options of a connection.

import type { WebSocketConstructor } from "./socket.js";

/**
 * Returns a token, or null if the user has to log in first.
 *
 * Called for each attempt to connect, and before the current token expires.
 */
export type TokenProvider = () => string | null | Promise<string | null>;

export interface ConnectionOptions {
  /** The endpoint, such as `wss://example.org/ws`. */
  url: string;
  /** Omitted on pages that authenticate with a cookie. */
  token?: TokenProvider;
  /** The device. Its id should be the same for all connections of the device. */
  device?: { id: string; name?: string };
  /** Required by runtimes without a global `WebSocket`. */
  WebSocket?: WebSocketConstructor;
}

/** Returns the fields of `authenticate` that name the device. */
export function deviceFields({ device }: ConnectionOptions): object {
  if (device === undefined) return {};
  return { device_id: device.id, ...(device.name && { device_name: device.name }) };
}
