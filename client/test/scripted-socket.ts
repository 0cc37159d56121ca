// A socket that does what the test says, so that the clock can be the test's too.

import { vi } from "vitest";
import { Connection, type ConnectionOptions } from "../src/index.js";

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

  /** The one that was made last. */
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

  /** Opens, and says who logged in: as the answer to `authenticate`, or unasked to a cookie. */
  accept(auth: object = {}): void {
    this.readyState = 1;
    this.onopen?.({});
    const begun = { user_id: "ada", connection_id: "c-1", heartbeat_ms: 30_000, expires_at: null };
    const payload = { authenticated: true, ...begun, ...auth };
    this.say({ type: "auth_result", reply_to: this.sent[0]?.id, payload });
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Answers the last question of a type. */
  answer(type: string, payload: object, kind = "ack"): void {
    this.say({ type: kind, reply_to: this.asked(type).at(-1)?.id, payload });
  }

  refuse(type: string, code: string, retryable = false): void {
    this.answer(type, { code, message: `No: ${code}.`, retryable }, "error");
  }

  asked(type: string): { id: string; payload: any }[] {
    return this.sent.filter((message) => message.type === type);
  }

  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

/** A connection over scripted sockets, of which the first is there and waits to be accepted. */
export async function scripted(options: Partial<ConnectionOptions> = { token: () => "good" }): Promise<Connection> {
  ScriptedSocket.sockets = [];
  const connection = new Connection({ url: "ws://server/ws", WebSocket: ScriptedSocket, ...options });
  connection.open();
  // The token is asked for first.
  if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(0);
  else await new Promise(setImmediate);
  return connection;
}

/** Loses the connection, and waits for the socket of the next attempt. */
export async function reconnect(): Promise<ScriptedSocket> {
  const lost = ScriptedSocket.last;
  lost.drop();
  while (ScriptedSocket.last === lost) await vi.advanceTimersByTimeAsync(100);
  return ScriptedSocket.last;
}
