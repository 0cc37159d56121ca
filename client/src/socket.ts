// What is needed of a WebSocket, whether the browser's or an injected one.

export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  // The event types of browsers and of Node's libraries differ; only `data`, `code` and `reason` are read.
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** Lets go of a socket: its close may take minutes on a dead network, and nobody waits for it. */
export function abandon(socket: WebSocketLike): void {
  socket.onopen = socket.onmessage = socket.onclose = null;
  // Not null: Node's libraries throw an error event that nobody listens to.
  socket.onerror = () => {};
  socket.close();
}
