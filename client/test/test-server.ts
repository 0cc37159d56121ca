// A small server that speaks the protocol from memory: terminals are byte strings that tests print to.

import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { decodeBinary, encodeBinary } from "../src/binary.js";
import type { PresenceMember, ServerMessage, SessionChange, SessionInfo } from "../src/messages.js";
import { TestTopic } from "./test-topic.js";
import { type Reader, TestSession } from "./test-session.js";

export interface Received {
  type: string;
  payload: any;
}

export interface TestServerOptions {
  heartbeatMs?: number;
  /** What a terminal's stream keeps for those who come back. */
  ringBytes?: number;
  /** Print input back, as a program at a terminal would. */
  echo?: boolean;
  http?: RequestListener;
  /** Where the endpoint is; `/` unless given. */
  base?: string;
}

export class TestServer {
  readonly options: TestServerOptions;
  readonly sessions = new Map<string, TestSession>();
  readonly connections = new Set<TestConnection>();
  readonly received: Received[] = [];
  readonly #topics = new Map<string, TestTopic>();
  /** Whether messages are answered at all; a dead server is not. */
  deaf = false;
  /** Input is taken but neither acknowledged; as when the link dies in between. */
  withholdAcks = false;
  /** Answers with 401 what would be a connection. */
  refuseUpgrades = false;
  /** Refuses this many inputs, as if the program did not read. */
  refuseInputs = 0;
  /** Refuses the next attaches with this error. */
  attachError: { code: string; message: string; retryable: boolean } | null = null;
  #http: Server;
  #waiting: { matches: (message: Received) => boolean; resolve: (message: Received) => void }[] = [];
  #ids = 0;

  private constructor(options: TestServerOptions) {
    this.options = options;
    this.#http = createServer(options.http);
    const path = `${options.base ?? "/"}ws`;
    const sockets = new WebSocketServer({ server: this.#http, path, verifyClient: () => !this.refuseUpgrades });
    sockets.on("connection", (socket, request) => {
      this.connections.add(new TestConnection(this, socket, request));
      this.tellPresence();
    });
  }

  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const server = new TestServer(options);
    await new Promise<void>((resolve) => server.#http.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  async stop(): Promise<void> {
    this.cut();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  newId(): string {
    this.#ids += 1;
    return `id-${this.#ids}`;
  }

  createSession(info: Partial<SessionInfo> = {}): TestSession {
    const now = Date.now();
    const session = new TestSession({
      id: this.newId(),
      kind: "terminal",
      profile: "terminal",
      name: null,
      title: "",
      owner: "ada",
      status: "active",
      cols: 80,
      rows: 24,
      connections: 0,
      created_at: now,
      last_activity_at: now,
      ...info,
    });
    this.sessions.set(session.info.id, session);
    return session;
  }

  print(session: TestSession, text: string | Buffer): void {
    const offset = session.output.length;
    const bytes = Buffer.from(text);
    session.output = Buffer.concat([session.output, bytes]);
    this.#eachReader(session, (connection, reader) => connection.binary("output", reader.stream, offset, bytes));
  }

  change(session: TestSession, change: Partial<SessionInfo> & { size_owner?: string | null }): void {
    const { size_owner, ...info } = change;
    Object.assign(session.info, info);
    if (size_owner !== undefined) session.sizeOwner = size_owner;
    const payload = { session: session.info.id, ...change } as SessionChange;
    session.changes.push({ offset: session.output.length, payload });
    this.#eachReader(session, (connection) => connection.say({ type: "session", payload }));
  }

  /** Somebody comes or goes, which the lists are told. */
  count({ info }: TestSession, connections: 1 | -1): void {
    info.connections += connections;
    this.publish("@sessions", info, "changed");
  }

  /** A reader that fell behind: the size, then the whole state. */
  skipToSnapshot(session: TestSession): void {
    this.change(session, { cols: session.info.cols, rows: session.info.rows });
    this.#eachReader(session, (connection, reader) =>
      connection.binary("snapshot", reader.stream, session.output.length, session.output),
    );
  }

  /** Whoever typed last owns the size. */
  typed(session: TestSession, reader: Reader, connection: string): void {
    if (session.sizeOwner === connection) return;
    this.change(session, { cols: reader.cols, rows: reader.rows, size_owner: connection });
  }

  /** A topic is there as soon as somebody names it. */
  topic(name: string): TestTopic {
    if (!this.#topics.has(name)) this.#topics.set(name, new TestTopic());
    return this.#topics.get(name) as TestTopic;
  }

  publish(topic: string, data: unknown, event?: string): string {
    const position = this.topic(topic).publish(data, event);
    const payload = { topic, position, ...(event !== undefined && { event }), data, time: Date.now() };
    for (const connection of this.connections) {
      if (connection.topics.has(topic)) connection.say({ type: "message", payload });
    }
    return position;
  }

  /** The devices of the one user. */
  presence(): { user: string; users: number; connections: number; members: PresenceMember[] } {
    const devices = new Map([...this.connections].map(({ device }) => [device.id, device]));
    const members = [...devices].map(([device, { name }]) => ({ user: "ada", device, device_name: name ?? "" }));
    return { user: "ada", users: 1, connections: this.connections.size, members };
  }

  tellPresence(): void {
    for (const connection of this.connections) {
      if (connection.followsPresence) connection.say({ type: "presence", payload: this.presence() });
    }
  }

  say(message: ServerMessage): void {
    for (const connection of this.connections) connection.say(message);
  }

  /** Ends all connections as a broken network would. */
  cut(): void {
    for (const connection of [...this.connections]) connection.socket.terminate();
  }

  close(code: number, reason = ""): void {
    for (const connection of [...this.connections]) connection.socket.close(code, reason);
  }

  /** The next message of a type that comes in from now on. */
  next(type: string, matches: (payload: any) => boolean = () => true): Promise<Received> {
    return new Promise((resolve) => {
      this.#waiting.push({ matches: (message) => message.type === type && matches(message.payload), resolve });
    });
  }

  note(message: Received): void {
    this.received.push(message);
    const served = this.#waiting.filter((waiting) => waiting.matches(message));
    this.#waiting = this.#waiting.filter((waiting) => !served.includes(waiting));
    for (const waiting of served) waiting.resolve(message);
  }

  #eachReader(session: TestSession, act: (connection: TestConnection, reader: Reader) => void): void {
    for (const connection of this.connections) {
      const reader = connection.readers.find((reader) => reader.session === session);
      if (reader !== undefined) act(connection, reader);
    }
  }
}

export class TestConnection {
  readonly server: TestServer;
  readonly socket: WebSocket;
  readonly id: string;
  readonly readers: Reader[] = [];
  readonly topics = new Set<string>();
  readonly device: { id: string | null; name: string | null };
  readonly userAgent: string;
  readonly connectedAt = Date.now();
  followsPresence = false;
  #streams = 0;

  constructor(server: TestServer, socket: WebSocket, { url = "", headers }: IncomingMessage) {
    this.server = server;
    this.socket = socket;
    this.id = server.newId();
    const { searchParams } = new URL(url, "http://server");
    this.device = { id: searchParams.get("device_id"), name: searchParams.get("device_name") };
    this.userAgent = headers["user-agent"] ?? "";
    if (headers.cookie?.includes("rejoin_session=good")) this.say({ type: "auth_result", payload: this.#auth() });
    socket.on("message", (data: Buffer, binary) => {
      if (server.deaf) return;
      if (binary) this.#input(data);
      else this.#answer(JSON.parse(data.toString()));
    });
    socket.on("close", () => {
      server.connections.delete(this);
      server.tellPresence();
      for (const { session } of this.readers) server.count(session, -1);
    });
  }

  say(message: { type: string; reply_to?: string; payload: unknown }): void {
    this.socket.send(JSON.stringify(message));
  }

  binary(kind: "output" | "snapshot" | "input_ack", stream: number, offset: number, bytes = Buffer.alloc(0)): void {
    this.socket.send(encodeBinary(kind, stream, offset, bytes));
  }

  #input(data: Buffer): void {
    const message = decodeBinary(new Uint8Array(data).buffer);
    const reader = this.readers.find((reader) => reader.stream === message?.stream);
    if (message === null || reader === undefined) return;
    const { session, writer } = reader;
    const text = Buffer.from(message.bytes).toString();
    if (this.server.refuseInputs > 0) {
      this.server.refuseInputs -= 1;
      this.say({ type: "error", payload: { code: "input_full", message: "The queue is full.", retryable: true } });
      return;
    }
    if (message.offset === (session.writers.get(writer) ?? 0) + 1) {
      session.writers.set(writer, message.offset);
      session.input += text;
      this.server.typed(session, reader, this.id);
      if (this.server.options.echo) this.server.print(session, text.replaceAll("\r", "\r\n$ "));
    }
    this.server.note({ type: "input", payload: { seq: message.offset, text, writer } });
    if (!this.server.withholdAcks) this.binary("input_ack", reader.stream, message.offset);
  }

  #answer({ id, type, payload }: { id: string; type: string; payload: any }): void {
    const reply = (type: string, payload: unknown) => this.say({ type, reply_to: id, payload });
    const refuse = (code: string, message: string, retryable = false) => reply("error", { code, message, retryable });
    switch (type) {
      case "authenticate": {
        if (payload.token === "good") {
          reply("auth_result", this.#auth());
          break;
        }
        const expired = payload.token === "expired";
        const message = `The token ${expired ? "has expired" : "is not valid"}.`;
        reply("auth_result", { authenticated: false, error: { code: "authentication_failed", message } });
        this.socket.close(expired ? 4502 : 4500);
        break;
      }
      case "ping":
        reply("pong", { time: Date.now() });
        break;
      case "create_session": {
        const { kind, profile, name, cols, rows } = payload;
        const session = this.server.createSession({ kind, profile: profile ?? "terminal", name: name ?? null, cols, rows });
        reply("ack", { session: session.info });
        break;
      }
      case "attach":
        this.#attach(payload, reply, refuse);
        break;
      case "detach":
        this.#leave(payload.session);
        reply("ack", {});
        break;
      case "close_session": {
        const session = this.server.sessions.get(payload.session);
        reply("ack", {});
        if (session !== undefined) {
          this.server.change(session, { status: "terminated", exit: { code: null, signal: "SIGHUP" } });
          this.server.sessions.delete(payload.session);
        }
        break;
      }
      case "resize": {
        const reader = this.readers.find((reader) => reader.session.info.id === payload.session);
        if (reader !== undefined) {
          reader.cols = payload.cols;
          reader.rows = payload.rows;
          if (reader.session.sizeOwner === this.id) {
            this.server.change(reader.session, { cols: reader.cols, rows: reader.rows });
          }
        }
        reply("ack", {});
        break;
      }
      case "subscribe": {
        const { topic, position } = payload;
        const { start, messages } = this.server.topic(topic).read(position);
        this.topics.add(topic);
        reply("ack", { topic, ...start });
        for (const message of messages) this.say({ type: "message", payload: { topic, ...message, time: Date.now() } });
        break;
      }
      case "unsubscribe":
        this.topics.delete(payload.topic);
        reply("ack", {});
        break;
      case "presence":
        this.followsPresence = payload.follow ?? this.followsPresence;
        reply("presence", this.server.presence());
        break;
      case "publish":
        reply("ack", { position: this.server.publish(payload.topic, payload.data) });
        break;
      default:
        refuse("unknown_type", `Nobody knows the type ${type}.`);
    }
    this.server.note({ type, payload });
  }

  #auth(): object {
    return {
      authenticated: true,
      user_id: "ada",
      connection_id: this.id,
      heartbeat_ms: this.server.options.heartbeatMs ?? 30_000,
      expires_at: null,
    };
  }

  #attach(
    payload: any,
    reply: (type: string, payload: unknown) => void,
    refuse: (code: string, message: string, retryable?: boolean) => void,
  ): void {
    const error = this.server.attachError;
    if (error !== null) {
      refuse(error.code, error.message, error.retryable);
      return;
    }
    const session = this.server.sessions.get(payload.session);
    if (session === undefined) {
      refuse("unknown_session", "There is no such session.");
      return;
    }
    const end = session.output.length;
    const [epoch, offset] = (payload.position ?? "").split(".");
    const from = Number(offset);
    const kept = epoch === session.epoch && from <= end && end - from <= (this.server.options.ringBytes ?? Infinity);
    const verdict = payload.position === undefined ? "fresh" : kept ? "resumed" : "snapshot";
    const stream = ++this.#streams;
    const { cols = 80, rows = 24, writer = this.id, role = "writer" } = payload;
    this.readers.push({ session, stream, writer, role, cols, rows });
    this.server.count(session, +1);
    session.sizeOwner ??= this.id;
    if (session.sizeOwner === this.id) Object.assign(session.info, { cols, rows });
    reply("attached", {
      session: session.info.id,
      stream,
      role,
      verdict,
      position: `${session.epoch}.${kept ? from : end}`,
      cols: session.info.cols,
      rows: session.info.rows,
      status: session.info.status,
      title: session.info.title,
      input_seq: session.writers.get(writer) ?? 0,
      size_owner: session.sizeOwner,
      exit: session.info.exit ?? null,
    });
    if (verdict !== "resumed") this.binary("snapshot", stream, end, session.output);
    else session.replay(from, (at, bytes) => this.binary("output", stream, at, bytes), (message) => this.say(message));
  }

  #leave(id: string): void {
    const index = this.readers.findIndex((reader) => reader.session.info.id === id);
    const [reader] = index < 0 ? [] : this.readers.splice(index, 1);
    if (reader !== undefined) this.server.count(reader.session, -1);
  }
}
