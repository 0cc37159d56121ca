// A WebSocket that the test drives, so that it also controls the clock.

import { vi } from "vitest";
import { Connection, type ConnectionOptions } from "../src/index.js";

/** A socket without a network. The test acts as the server. */
export class ScriptedSocket {
  static sockets: ScriptedSocket[] = [];
  readonly url: string;
  binaryType = "";
  readyState = 0;
  sent: { id: string; type: string; payload: any }[] = [];
  binary: Uint8Array[] = [];
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: unknown) => void) | null = null;
  onclose: ((event: unknown) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;

  constructor(url: string) {
    this.url = url;
    ScriptedSocket.sockets.push(this);
  }

  /** The socket opened last. */
  static get last(): ScriptedSocket {
    return ScriptedSocket.sockets.at(-1) as ScriptedSocket;
  }

  send(data: string | Uint8Array): void {
    if (typeof data === "string") this.sent.push(JSON.parse(data));
    else this.binary.push(data);
  }

  close(): void {
    this.readyState = 3;
  }

  /** Opens and authenticates: as the reply to `authenticate`, or unsolicited for a cookie. */
  accept(auth: object = {}): void {
    this.readyState = 1;
    this.onopen?.({});
    const defaults = {
      user_id: "ada",
      connection_id: "c-1",
      heartbeat_ms: 30_000,
      expires_at: null,
    };
    const payload = { authenticated: true, ...defaults, ...auth };
    this.deliver({ type: "auth_result", reply_to: this.sent[0]?.id, payload });
  }

  /** Delivers a message to the client. */
  deliver(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Delivers a binary message to the client. */
  deliverBinary(message: Uint8Array<ArrayBuffer>): void {
    this.onmessage?.({ data: message.buffer });
  }

  /** Replies to the last request of a type. */
  reply(type: string, payload: object, kind = "ack"): void {
    this.deliver({ type: kind, reply_to: this.requests(type).at(-1)?.id, payload });
  }

  /** Replies to the last request of a type with an error. */
  refuse(type: string, code: string, retryable = false): void {
    this.reply(type, { code, message: `Refused: ${code}.`, retryable }, "error");
  }

  /** Returns the requests of a type. */
  requests(type: string): { id: string; payload: any }[] {
    return this.sent.filter((message) => message.type === type);
  }

  /** Closes the socket from the server's side. */
  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

/** Opens a connection over scripted sockets. The first socket waits for `accept()`. */
export async function connectScripted(
  options: Partial<ConnectionOptions> = { token: () => "good" },
): Promise<Connection> {
  ScriptedSocket.sockets = [];
  const connection = new Connection({
    url: "ws://server/ws",
    WebSocket: ScriptedSocket,
    ...options,
  });
  connection.open();

  // The token provider runs before the socket opens.
  if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(0);
  else await new Promise(setImmediate);

  return connection;
}

/** Drops the connection. Returns the socket of the next attempt. */
export async function reconnect(): Promise<ScriptedSocket> {
  const lost = ScriptedSocket.last;
  lost.drop();

  while (ScriptedSocket.last === lost) await vi.advanceTimersByTimeAsync(100);
  return ScriptedSocket.last;
}
