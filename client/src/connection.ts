// A connection to the server that comes back by itself.

import { Backoff } from "./backoff.js";
import { decodeBinary } from "./binary.js";
import { judgeClose } from "./closing.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { connectionLost, noNewerToken, notConnected, RejoinError } from "./errors.js";
import type { ConnectionEvents, ConnectionState } from "./events.js";
import { Heartbeat } from "./heartbeat.js";
import {
  type AuthRefused,
  type AuthResult,
  type Closing,
  type Envelope,
  type ErrorPayload,
  type PresenceState,
  readMessage,
  type Requests,
  type ServerMessage,
  type Subject,
} from "./messages.js";
import { type ConnectionOptions, urlWithDevice } from "./options.js";
import { OwnStreams } from "./own-streams.js";
import { type Presence, PresenceFollows } from "./presence.js";
import { Publishing, type PublishOptions } from "./publishing.js";
import { Refresher } from "./refresh.js";
import { abandon, type WebSocketConstructor, type WebSocketLike } from "./socket.js";
import { onWake } from "./wake.js";

const SUBPROTOCOL = "rejoin.v1";
/** From the attempt to the answer of `authenticate`. */
const CONNECT_MS = 15_000;
/** A connection that lived this long was no accident: the backoff begins anew after it. */
const STABLE_MS = 10_000;
const OPEN = 1;
/** As if the server had said it: there was no token to show. */
const AUTHENTICATION_FAILED = 4500;
/** What WebSockets report when a connection ends without a close. */
const ABNORMAL = 1006;

export type Answer = { ok: true; type: string; payload: unknown } | { ok: false; error: RejoinError };
type AnswerListener = (answer: Answer) => void;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #emitter = new Emitter<ConnectionEvents>();
  readonly #backoff = new Backoff();
  readonly #awaited = new Map<string, AnswerListener>();
  readonly #ownStreams: OwnStreams;
  readonly #publishing: Publishing;
  readonly #presence: PresenceFollows;
  readonly #refresher: Refresher;
  #state: ConnectionState = { name: "new" };
  /** The one that the server was shown last. */
  #token: string | null = null;
  #tokenExpiresAt = 0;
  #socket: WebSocketLike | null = null;
  #heartbeat: Heartbeat | null = null;
  /** Of the attempt: gives up on a server that does not answer. */
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stable: ReturnType<typeof setTimeout> | undefined;
  #lastId = 0;
  #attempt = 0;
  #closing: Closing | null = null;
  #refusal: ErrorPayload | null = null;
  /** What was said to a token before it was shown. */
  #unasked: AuthResult | null = null;
  /** A wake-up does not come before the time that the server asked for. */
  #notBefore = 0;
  #stopWaking: Unsubscribe = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#ownStreams = new OwnStreams({
      emitted: (emitted) => this.#emitter.emit("emitted", emitted),
      missed: (missed) => this.#emitter.emit("missed", missed),
      subscribe: (topic, position, listener) => this.ask("subscribe", { topic, position }, listener),
    });
    this.#publishing = new Publishing(this);
    this.#presence = new PresenceFollows(this);
    this.#refresher = new Refresher({
      refresh: () => this.refresh(),
      failed: (error) => this.#emitter.emit("token_expiring", { expires_at: this.#tokenExpiresAt, error }),
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  on<Name extends keyof ConnectionEvents>(
    name: Name,
    listener: (value: ConnectionEvents[Name]) => void,
  ): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Connects, and stays connected until `close()` or until the server says not to come back. */
  open(): void {
    if (this.#state.name !== "new" && this.#state.name !== "closed") return;
    this.#stopWaking = onWake(() => this.#wake());
    this.#backoff.reset();
    void this.#connect();
  }

  /** Tries again at once, if an attempt is waited for. */
  retryNow(): void {
    if (this.#state.name === "waiting") void this.#connect();
  }

  /** Ends the connection for good. */
  close(): void {
    if (this.#state.name !== "closed") this.#end(null, "");
  }

  /**
   * Publishes, and says at which position. Sent again after a reconnect with the same key until it is answered, so it
   * is published once. Rejects with a `RejoinError`: what the server says, or `queue_full`, `not_answered`.
   */
  publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<string> {
    return this.#publishing.publish(topic, data, options);
  }

  /** Says who is there. Rejects with a `RejoinError`. */
  presence(subject: Subject): Promise<PresenceState> {
    return this.request("presence", subject);
  }

  /**
   * Calls `changed` with who is there: at first, after each change, and after each reconnect. `failed` is called when
   * the server refuses. Returns what stops it.
   */
  followPresence(
    subject: Subject,
    changed: (presence: Presence) => void,
    failed: (error: RejoinError) => void = () => {},
  ): Unsubscribe {
    return this.#presence.follow(subject, { changed, failed });
  }

  /** Asks for a token and shows it to the server; done by itself when the token ends soon. */
  async refresh(): Promise<AuthResult> {
    const token = (await this.#options.token?.()) ?? null;
    if (token === null || token === this.#token) throw noNewerToken();
    const answer = await this.request("refresh", { token });
    this.#token = token;
    if (this.#state.name !== "connected") return answer;
    const auth = { ...this.#state.auth, ...answer };
    this.#enter({ name: "connected", auth });
    return auth;
  }

  /** Asks, and hands over what the answer carries. Rejects with a `RejoinError`. */
  request<Type extends keyof Requests>(
    type: Type,
    payload: Requests[Type]["payload"],
  ): Promise<Requests[Type]["answer"]> {
    return this.call(type, payload) as Promise<Requests[Type]["answer"]>;
  }

  /** Asks a handler that the server's program registered. Rejects with a `RejoinError`. */
  call(type: string, payload: unknown = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.ask(type, payload, (answer) => (answer.ok ? resolve(answer.payload) : reject(answer.error)));
    });
  }

  /**
   * Asks, and calls `listener` in order with all other messages, which a promise would not be.
   * The listener is called exactly once, also when the connection is lost.
   */
  ask(type: string, payload: unknown, listener: AnswerListener): void {
    if (this.#state.name === "connected") this.#send(type, payload, listener);
    else listener({ ok: false, error: notConnected() });
  }

  /** Sends an encoded binary message; false if there is no connection. */
  sendBinary(message: Uint8Array<ArrayBuffer>): boolean {
    if (this.#state.name !== "connected" || this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(message);
    return true;
  }

  async #connect(): Promise<void> {
    clearTimeout(this.#retry);
    const attempt = ++this.#attempt;
    this.#closing = null;
    this.#refusal = null;
    this.#unasked = null;
    this.#enter({ name: "connecting" });
    this.#deadline = setTimeout(() => this.#lose("The server did not answer."), CONNECT_MS);
    if (this.#options.token === undefined) {
      this.#openSocket(null);
      return;
    }
    let token: string | null;
    try {
      token = await this.#options.token();
    } catch (error) {
      if (attempt === this.#attempt) this.#wait(ABNORMAL, String(error));
      return;
    }
    if (attempt !== this.#attempt) return;
    if (token === null) {
      this.#end(AUTHENTICATION_FAILED, "There is no token.");
      return;
    }
    this.#openSocket(token);
  }

  /** Without a token the page's cookie logs in, and the server says so unasked. */
  #openSocket(token: string | null): void {
    const Constructor = this.#options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
    if (Constructor === undefined) throw new Error("there is no WebSocket here: pass one in the options");
    const socket = new Constructor(token === null ? urlWithDevice(this.#options) : this.#options.url, [SUBPROTOCOL]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => token !== null && this.#authenticate(token);
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    // A close event follows each error, and says more.
    socket.onerror = () => {};
    this.#token = token;
    this.#socket = socket;
  }

  #authenticate(token: string): void {
    const { device } = this.#options;
    const named = device && { device_id: device.id, ...(device.name && { device_name: device.name }) };
    const positions = this.#ownStreams.positions();
    this.#send("authenticate", { token, ...named, ...(positions && { positions }) }, (answer) => {
      if (answer.ok) this.#answered(answer.payload as AuthResult | AuthRefused);
      else this.#refusal = answer.error;
    });
  }

  #answered(answer: AuthResult | AuthRefused): void {
    // Where no token is needed, reading began before it was shown, and without the positions.
    if (answer.authenticated) this.#opened({ ...this.#unasked, ...answer }, this.#unasked === null);
    else this.#refusal = answer.error;
  }

  #opened(auth: AuthResult, gavePositions: boolean): void {
    clearTimeout(this.#deadline);
    this.#stable = setTimeout(() => this.#backoff.reset(), STABLE_MS);
    this.#heartbeat = new Heartbeat(auth.heartbeat_ms, {
      ping: () => this.ask("ping", {}, () => {}),
      dead: () => this.#lose("The server was not heard any more."),
    });
    this.#enter({ name: "connected", auth });
    this.#ownStreams.begin(auth, gavePositions);
    this.#emitter.emit("open", auth);
  }

  #send(type: string, payload: unknown, listener: AnswerListener): void {
    if (this.#socket?.readyState !== OPEN) {
      listener({ ok: false, error: notConnected() });
      return;
    }
    const id = String(++this.#lastId);
    this.#awaited.set(id, listener);
    this.#socket.send(JSON.stringify({ id, type, payload }));
  }

  #receive(data: string | ArrayBuffer): void {
    this.#heartbeat?.heard();
    if (typeof data === "string") {
      const message = readMessage(data);
      if (message !== null) this.#dispatch(message);
      return;
    }
    const message = decodeBinary(data);
    if (message !== null) this.#emitter.emit("binary", message);
  }

  #dispatch(message: Envelope): void {
    const { type, reply_to, payload } = message;
    if (reply_to !== undefined) {
      const listener = this.#awaited.get(reply_to);
      this.#awaited.delete(reply_to);
      if (type === "error") listener?.({ ok: false, error: new RejoinError(payload as ErrorPayload) });
      else listener?.({ ok: true, type, payload });
      return;
    }
    this.#hear(message as ServerMessage);
    this.#emitter.emit("message", message as ServerMessage);
  }

  #hear({ type, payload }: ServerMessage): void {
    const connecting = this.#state.name === "connecting";
    switch (type) {
      case "auth_result":
        if (!connecting) break;
        if (!payload.authenticated) this.#refusal = payload.error;
        else if (this.#token === null) this.#opened(payload, false);
        else this.#unasked = payload;
        break;
      case "closing":
        this.#closing = payload;
        break;
      case "error":
        if (connecting) this.#refusal = payload;
        else this.#emitter.emit("error", new RejoinError(payload));
        break;
      case "message":
        this.#ownStreams.receive(payload);
        break;
      case "gap":
        this.#ownStreams.gap(payload);
        break;
      case "token_expiring":
        this.#tokenExpiresAt = payload.expires_at;
        this.#refresher.begin();
        break;
    }
  }

  #wake(): void {
    if (this.#state.name === "connected") this.#heartbeat?.probe();
    else if (Date.now() >= this.#notBefore) this.retryNow();
  }

  /** The socket is dead, or as good as. */
  #lose(reason: string): void {
    if (this.#socket !== null) abandon(this.#socket);
    this.#closed(ABNORMAL, reason);
  }

  #closed(socketCode: number, reason: string): void {
    const closed = judgeClose({ code: socketCode, reason }, this.#closing, this.#refusal);
    if (closed.comesBack) this.#wait(closed.code, closed.reason);
    else this.#end(closed.code, closed.reason);
  }

  #wait(code: number, reason: string): void {
    this.#attempt += 1;
    const closing = this.#closing;
    this.#letGo();
    let delay = this.#backoff.next();
    this.#notBefore = 0;
    if (closing?.reconnect_after_ms !== undefined) {
      const asked = closing.reconnect_after_ms + Math.floor(Math.random() * (closing.window_ms ?? 0));
      this.#notBefore = Date.now() + asked;
      // A server that ends each connection at once, and says to come at once, is not run against.
      delay = Math.max(delay, asked);
    }
    this.#retry = setTimeout(() => void this.#connect(), delay);
    this.#enter({ name: "waiting", retryAt: Date.now() + delay, code, reason });
  }

  #end(code: number | null, reason: string): void {
    this.#attempt += 1;
    this.#stopWaking();
    if (this.#socket !== null) abandon(this.#socket);
    this.#letGo();
    this.#enter({ name: "closed", code, reason });
  }

  /** Clears all that belongs to one socket. */
  #letGo(): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    this.#refresher.stop();
    this.#socket = null;
    const awaited = [...this.#awaited.values()];
    this.#awaited.clear();
    const wasConnected = this.#state.name === "connected";
    // Listeners that ask again at once are to hear that there is no connection.
    this.#state = { name: "connecting" };
    for (const listener of awaited) listener({ ok: false, error: connectionLost() });
    if (wasConnected) this.#emitter.emit("lost", undefined);
  }

  #enter(state: ConnectionState): void {
    this.#state = state;
    this.#emitter.emit("state", state);
  }
}
