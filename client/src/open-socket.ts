// Opens the WebSocket of one attempt to connect.

import type { ConnectionOptions } from "./options.js";
import type { WebSocketConstructor, WebSocketLike } from "./socket.js";

const SUBPROTOCOL = "rejoin.v1";

/**
 * Opens a socket to the endpoint.
 *
 * With authentication by cookie, no message carries the device, so the query does.
 */
export function openSocket(options: ConnectionOptions, auth: "token" | "cookie"): WebSocketLike {
  const Constructor =
    options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  if (Constructor === undefined) {
    throw new Error("This runtime has no WebSocket. Pass one in the options.");
  }

  const url = auth === "cookie" ? urlWithDevice(options) : options.url;
  const socket = new Constructor(url, [SUBPROTOCOL]);
  socket.binaryType = "arraybuffer";
  return socket;
}

function urlWithDevice({ url, device }: ConnectionOptions): string {
  if (device === undefined) return url;

  // The base allows relative endpoints on pages.
  const withDevice = new URL(url, globalThis.location?.href);
  withDevice.searchParams.set("device_id", device.id);
  if (device.name) withDevice.searchParams.set("device_name", device.name);
  return withDevice.href;
}
