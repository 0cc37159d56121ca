// A connection to the server that reconnects by itself.

import { decodeBinary } from "./binary.js";
import { ABNORMAL, AUTHENTICATION_FAILED, interpretClose } from "./close.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { noNewerToken, notConnected, RejoinError } from "./errors.js";
import type { ConnectionEvents, ConnectionState } from "./events.js";
import { Heartbeat } from "./heartbeat.js";
import { ImplicitStreams } from "./implicit-streams.js";
import {
  type AuthRefused,
  type AuthResult,
  type Closing,
  type ErrorPayload,
  type PresenceState,
  parseMessage,
  type Requests,
  type ServerMessage,
  type Subject,
} from "./messages.js";
import { openSocket } from "./open-socket.js";
import { type ConnectionOptions, deviceFields } from "./options.js";
import { PendingReplies } from "./pending-replies.js";
import { type Presence, PresenceSubscriptions } from "./presence.js";
import { type PublishOptions, PublishQueue } from "./publish-queue.js";
import { ReconnectTimer } from "./reconnect-timer.js";
import type { ReplyListener, Requester } from "./requester.js";
import { abandon, isOpen, type WebSocketLike } from "./socket.js";
import { TokenRefresher } from "./token-refresher.js";
import { onWake } from "./wake.js";

/** The time limit from the start of an attempt to a successful authentication. */
const CONNECT_TIMEOUT_MS = 15_000;

/** A connection to a rejoin server, kept over any number of sockets. */
export class Connection implements Requester {
  readonly #options: ConnectionOptions;
  readonly #emitter = new Emitter<ConnectionEvents>();
  readonly #replies = new PendingReplies();
  readonly #reconnect = new ReconnectTimer(() => void this.#connect());
  readonly #implicitStreams: ImplicitStreams;
  readonly #publishQueue: PublishQueue;
  readonly #presence: PresenceSubscriptions;
  readonly #tokenRefresher: TokenRefresher;
  #state: ConnectionState = { name: "new" };
  /** The token sent last; null with authentication by cookie. */
  #token: string | null = null;
  #tokenExpiresAt = 0;
  #socket: WebSocketLike | null = null;
  #heartbeat: Heartbeat | null = null;
  #connectTimeout: ReturnType<typeof setTimeout> | undefined;
  /** Identifies the current attempt. A listener or a token provider may have ended it. */
  #attempt = 0;
  #closing: Closing | null = null;
  #refusal: ErrorPayload | null = null;
  /** An authentication that arrived before the token was sent: the server requires none. */
  #anonymousAuth: AuthResult | null = null;
  #stopWaking: Unsubscribe = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#implicitStreams = new ImplicitStreams({
      emitted: (emitted) => this.#emitter.emit("emitted", emitted),
      missed: (missed) => this.#emitter.emit("missed", missed),
      subscribe: (topic, position, listener) =>
        this.sendRequest("subscribe", { topic, position }, listener),
    });
    this.#publishQueue = new PublishQueue(this);
    this.#presence = new PresenceSubscriptions(this);
    this.#tokenRefresher = new TokenRefresher({
      refresh: () => this.refresh(),
      failed: (error) =>
        this.#emitter.emit("token_expiring", { expires_at: this.#tokenExpiresAt, error }),
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Calls `listener` for each event. Returns a function that removes it. */
  on<Name extends keyof ConnectionEvents>(
    name: Name,
    listener: (value: ConnectionEvents[Name]) => void,
  ): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Connects, and reconnects until `close()` or a close code that forbids it. */
  open(): void {
    if (this.#state.name !== "new" && this.#state.name !== "closed") return;

    this.#stopWaking = onWake(() => this.#wake());
    this.#reconnect.reset();
    void this.#connect();
  }

  /** Reconnects at once if the connection waits for its next attempt. */
  retryNow(): void {
    if (this.#state.name === "waiting") void this.#connect();
  }

  /** Closes the connection. `open()` opens it again. */
  close(): void {
    if (this.#state.name !== "closed") this.#finish(null, "");
  }

  /**
   * Publishes a message. Returns its position.
   *
   * Resends it with the same key until the server replies, so it is published once. Rejects with
   * the server's `RejoinError`, or with `queue_full`, `not_answered` or `connection_lost`.
   */
  publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<string> {
    return this.#publishQueue.publish(topic, data, options);
  }

  /** Returns the presence of a subject. Rejects with a `RejoinError`. */
  presence(subject: Subject): Promise<PresenceState> {
    return this.request("presence", subject);
  }

  /**
   * Follows the presence of a subject. Returns a function that stops it.
   *
   * Calls `changed` with the state at first, after each change and after each reconnect. Calls
   * `failed` if the server refuses.
   */
  followPresence(
    subject: Subject,
    changed: (presence: Presence) => void,
    failed: (error: RejoinError) => void = () => {},
  ): Unsubscribe {
    return this.#presence.follow(subject, { changed, failed });
  }

  /**
   * Sends a new token to the server. Returns the updated authentication.
   *
   * Called automatically before the token expires. Rejects with a `RejoinError`, or with the error
   * of the token provider.
   */
  async refresh(): Promise<AuthResult> {
    const token = (await this.#options.token?.()) ?? null;
    // The same token would be accepted, and would expire at the same time.
    if (token === null || token === this.#token) throw noNewerToken();

    const reply = await this.request("refresh", { token });
    this.#token = token;
    if (this.#state.name !== "connected") return reply;

    const auth = { ...this.#state.auth, ...reply };
    this.#setState({ name: "connected", auth });
    return auth;
  }

  /** Sends a request. Returns the payload of the reply; rejects with a `RejoinError`. */
  request<Type extends keyof Requests>(
    type: Type,
    payload: Requests[Type]["payload"],
  ): Promise<Requests[Type]["reply"]> {
    return this.call(type, payload) as Promise<Requests[Type]["reply"]>;
  }

  /** Calls a custom handler of the server. Rejects with a `RejoinError`. */
  call(type: string, payload: unknown = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.sendRequest(type, payload, (reply) =>
        reply.ok ? resolve(reply.payload) : reject(reply.error),
      );
    });
  }

  /**
   * Sends a request and calls `listener` exactly once, even if the connection is lost.
   *
   * The listener runs in order with all other messages; a promise would resolve later.
   */
  sendRequest(type: string, payload: unknown, listener: ReplyListener): void {
    if (this.#state.name === "connected") this.#send(type, payload, listener);
    else listener({ ok: false, error: notConnected() });
  }

  /** Sends an encoded binary message. Returns `false` without a connection. */
  sendBinary(message: Uint8Array<ArrayBuffer>): boolean {
    if (this.#state.name !== "connected" || !isOpen(this.#socket)) return false;

    this.#socket.send(message);
    return true;
  }

  async #connect(): Promise<void> {
    this.#reconnect.cancel();
    const attempt = ++this.#attempt;
    this.#closing = null;
    this.#refusal = null;
    this.#anonymousAuth = null;

    this.#setState({ name: "connecting" });
    if (attempt !== this.#attempt) return;

    this.#connectTimeout = setTimeout(
      () => this.#drop("The server did not respond."),
      CONNECT_TIMEOUT_MS,
    );
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

    // The attempt was given up while the provider ran.
    if (attempt !== this.#attempt) return;
    if (token === null) {
      this.#finish(AUTHENTICATION_FAILED, "There is no token. Log in first.");
      return;
    }

    this.#openSocket(token);
  }

  /** Opens a socket. Without a token, the page's cookie authenticates it. */
  #openSocket(token: string | null): void {
    const socket = openSocket(this.#options, token === null ? "cookie" : "token");
    socket.onopen = () => token !== null && this.#authenticate(token);
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#handleClose(event.code, event.reason);
    // Each error is followed by a close event, which has a code.
    socket.onerror = () => {};

    this.#token = token;
    this.#socket = socket;
  }

  #authenticate(token: string): void {
    const positions = this.#implicitStreams.positions();
    const payload = { token, ...deviceFields(this.#options), ...(positions && { positions }) };

    this.#send("authenticate", payload, (reply) => {
      if (!reply.ok) {
        this.#refusal = reply.error;
        return;
      }

      const auth = reply.payload as AuthResult | AuthRefused;
      if (!auth.authenticated) this.#refusal = auth.error;
      else this.#handleAuth({ ...this.#anonymousAuth, ...auth }, this.#anonymousAuth === null);
    });
  }

  /** Enters the connected state. A server that needs no token does not read the positions. */
  #handleAuth(auth: AuthResult, positionsWereRead: boolean): void {
    const attempt = this.#attempt;
    clearTimeout(this.#connectTimeout);
    this.#reconnect.connected();
    this.#heartbeat = new Heartbeat(auth.heartbeat_ms, {
      ping: () => this.sendRequest("ping", {}, () => {}),
      dead: () => this.#drop("The server stopped responding."),
    });

    this.#setState({ name: "connected", auth });
    if (attempt !== this.#attempt) return;

    if (positionsWereRead) this.#implicitStreams.resume(auth);
    else this.#implicitStreams.resubscribe(auth);
    this.#emitter.emit("open", auth);
  }

  #send(type: string, payload: unknown, listener: ReplyListener): void {
    if (!isOpen(this.#socket)) {
      listener({ ok: false, error: notConnected() });
      return;
    }

    const id = this.#replies.add(listener);
    this.#socket.send(JSON.stringify({ id, type, payload }));
  }

  #receive(data: string | ArrayBuffer): void {
    this.#heartbeat?.received();

    if (typeof data !== "string") {
      const message = decodeBinary(data);
      if (message !== null) this.#emitter.emit("binary", message);
      return;
    }

    // Unknown and malformed messages are ignored: newer servers may send them.
    const message = parseMessage(data);
    if (message === null) return;
    if (message.reply_to !== undefined) {
      this.#replies.deliver(message.reply_to, message);
      return;
    }

    this.#handleMessage(message as ServerMessage);
    this.#emitter.emit("message", message as ServerMessage);
  }

  #handleMessage({ type, payload }: ServerMessage): void {
    const connecting = this.#state.name === "connecting";
    switch (type) {
      case "auth_result":
        if (!connecting) break;
        if (!payload.authenticated) this.#refusal = payload.error;
        else if (this.#token === null) this.#handleAuth(payload, false);
        // The reply to the token follows, and completes the authentication.
        else this.#anonymousAuth = payload;
        break;
      case "closing":
        this.#closing = payload;
        break;
      case "error":
        if (connecting) this.#refusal = payload;
        else this.#emitter.emit("error", new RejoinError(payload));
        break;
      case "message":
        this.#implicitStreams.receive(payload);
        break;
      case "gap":
        this.#implicitStreams.receiveGap(payload);
        break;
      case "token_expiring":
        this.#tokenExpiresAt = payload.expires_at;
        this.#tokenRefresher.start();
        break;
    }
  }

  #wake(): void {
    if (this.#state.name === "connected") this.#heartbeat?.probe();
    else if (this.#reconnect.mayRetry) this.retryNow();
  }

  /** Abandons a socket that is dead or does not respond. */
  #drop(reason: string): void {
    if (this.#socket !== null) abandon(this.#socket);
    // Not left to the socket: a dead one reports its close minutes later.
    this.#handleClose(ABNORMAL, reason);
  }

  #handleClose(socketCode: number, socketReason: string): void {
    const { code, reason, reconnects } = interpretClose(
      { code: socketCode, reason: socketReason },
      this.#closing,
      this.#refusal,
    );
    if (reconnects) this.#wait(code, reason);
    else this.#finish(code, reason);
  }

  /** Schedules the next attempt. */
  #wait(code: number, reason: string): void {
    if (!this.#releaseSocket()) return;

    const delay = this.#reconnect.schedule(this.#closing);
    this.#setState({ name: "waiting", retryAt: Date.now() + delay, code, reason });
  }

  /** Closes the connection without another attempt. */
  #finish(code: number | null, reason: string): void {
    this.#stopWaking();
    if (this.#socket !== null) abandon(this.#socket);
    if (!this.#releaseSocket()) return;

    this.#setState({ name: "closed", code, reason });
  }

  /** Ends the attempt. Returns `false` if a listener has closed or opened the connection. */
  #releaseSocket(): boolean {
    const attempt = ++this.#attempt;
    clearTimeout(this.#connectTimeout);
    this.#reconnect.stop();
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    this.#tokenRefresher.stop();
    this.#socket = null;

    const wasConnected = this.#state.name === "connected";
    // Before the listeners run: a request that they send must fail, not wait for a reply.
    this.#state = { name: "connecting" };
    this.#replies.failAll();
    if (wasConnected) this.#emitter.emit("lost", undefined);
    return attempt === this.#attempt;
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#emitter.emit("state", state);
  }
}
