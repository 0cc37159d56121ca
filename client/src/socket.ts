// The part of the WebSocket interface that the client needs.
// biome-ignore-all lint/suspicious/noExplicitAny: the event types of browsers and Node differ.

export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  // Of the events, the client reads only `data`, `code` and `reason`.
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** The `readyState` of an open socket. */
const OPEN = 1;

/** Returns `true` if messages can be sent. */
export function isOpen(socket: WebSocketLike | null): socket is WebSocketLike {
  return socket?.readyState === OPEN;
}

/** Closes a socket without waiting: on a dead network, a close may take minutes. */
export function abandon(socket: WebSocketLike): void {
  socket.onopen = null;
  socket.onmessage = null;
  socket.onclose = null;
  // A function, not null: Node's libraries throw error events that have no listener.
  socket.onerror = () => {};
  socket.close();
}
