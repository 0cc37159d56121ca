// An in-memory server for tests: terminals are byte strings that tests print to.

import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { PresenceMember, ServerMessage, SessionChange, SessionInfo } from "../src/messages.js";
import { TestConnection } from "./test-connection.js";
import { type Reader, TestSession } from "./test-session.js";
import { TestTopic } from "./test-topic.js";

/** A message of a client. */
export interface Received {
  type: string;
  payload: any;
}

export interface TestServerOptions {
  heartbeatMs?: number;
  /** The bytes of output that a session retains for resumes. */
  ringBytes?: number;
  /** True if input is printed back, as a shell does. */
  echo?: boolean;
  /** True if terminals expect acknowledgements. */
  windows?: boolean;
  http?: RequestListener;
  /** The base path. Default: `/`. */
  base?: string;
}

/** A server on a free port. */
export class TestServer {
  readonly options: TestServerOptions;
  readonly sessions = new Map<string, TestSession>();
  readonly connections = new Set<TestConnection>();
  readonly received: Received[] = [];
  readonly #topics = new Map<string, TestTopic>();
  /** True if messages get no reply, as from a dead server. */
  ignoresMessages = false;
  /** True if input is not acknowledged, as if the connection broke before. */
  withholdAcks = false;
  /** True if upgrades are answered with 401. */
  refuseUpgrades = false;
  /** The number of inputs to refuse, as if the program did not read. */
  refuseInputs = 0;
  /** The error for attaches; null accepts them. */
  attachError: { code: string; message: string; retryable: boolean } | null = null;
  #http: Server;
  #waiting: { matches: (message: Received) => boolean; resolve: (message: Received) => void }[] =
    [];
  #ids = 0;

  private constructor(options: TestServerOptions) {
    this.options = options;
    this.#http = createServer(options.http);
    const path = `${options.base ?? "/"}ws`;
    const sockets = new WebSocketServer({
      server: this.#http,
      path,
      verifyClient: () => !this.refuseUpgrades,
    });
    sockets.on("connection", (socket, request) => {
      this.connections.add(new TestConnection(this, socket, request));
      this.broadcastPresence();
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
      updated_at: now,
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
    this.#eachReader(session, (connection, reader) =>
      connection.binary("output", reader.stream, offset, bytes),
    );
  }

  change(
    session: TestSession,
    change: Partial<SessionInfo> & {
      size_owner?: string | null;
      history?: SessionChange["history"];
    },
  ): void {
    const { size_owner, ...info } = change;
    Object.assign(session.info, info);
    if (size_owner !== undefined) session.sizeOwner = size_owner;
    const payload = { session: session.info.id, ...change } as SessionChange;
    session.changes.push({ offset: session.output.length, payload });
    this.#eachReader(session, (connection) => connection.send({ type: "session", payload }));
  }

  /** Changes a session's number of connections and announces it to session lists. */
  updateConnections({ info }: TestSession, connections: 1 | -1): void {
    info.connections += connections;
    this.publish("@sessions", info, "changed");
  }

  /** Sends a snapshot to all readers, as to readers that fell behind. */
  skipToSnapshot(session: TestSession): void {
    this.change(session, { cols: session.info.cols, rows: session.info.rows });
    this.#eachReader(session, (connection, reader) =>
      connection.binary("snapshot", reader.stream, session.output.length, session.output),
    );
  }

  /** Makes a typing connection the owner of the size. */
  takeSize(session: TestSession, reader: Reader, connection: string): void {
    if (session.sizeOwner === connection) return;

    this.change(session, { cols: reader.cols, rows: reader.rows, size_owner: connection });
  }

  /** Returns a topic; creates it at its first use. */
  topic(name: string): TestTopic {
    if (!this.#topics.has(name)) this.#topics.set(name, new TestTopic());
    return this.#topics.get(name) as TestTopic;
  }

  publish(topic: string, data: unknown, event?: string): string {
    const position = this.topic(topic).publish(data, event);
    const payload = {
      topic,
      position,
      ...(event !== undefined && { event }),
      data,
      time: Date.now(),
    };
    for (const connection of this.connections) {
      if (connection.topics.has(topic)) connection.send({ type: "message", payload });
    }

    return position;
  }

  /** Returns the presence of the only user. */
  presence(): { user: string; users: number; connections: number; members: PresenceMember[] } {
    const devices = new Map([...this.connections].map(({ device }) => [device.id, device]));
    const members = [...devices].map(([device, { name }]) => ({
      user: "ada",
      device,
      device_name: name ?? "",
    }));
    return { user: "ada", users: 1, connections: this.connections.size, members };
  }

  broadcastPresence(): void {
    for (const connection of this.connections) {
      if (connection.followsPresence)
        connection.send({ type: "presence", payload: this.presence() });
    }
  }

  /** Sends a message to all connections. */
  send(message: ServerMessage): void {
    for (const connection of this.connections) connection.send(message);
  }

  /** Breaks all connections without a close frame. */
  cut(): void {
    for (const connection of [...this.connections]) connection.socket.terminate();
  }

  close(code: number, reason = ""): void {
    for (const connection of [...this.connections]) connection.socket.close(code, reason);
  }

  /** Returns the next message of a type. */
  next(type: string, matches: (payload: any) => boolean = () => true): Promise<Received> {
    return new Promise((resolve) => {
      this.#waiting.push({
        matches: (message) => message.type === type && matches(message.payload),
        resolve,
      });
    });
  }

  /** Records a message and resolves the calls of `next` that wait for it. */
  record(message: Received): void {
    this.received.push(message);
    const served = this.#waiting.filter((waiting) => waiting.matches(message));
    this.#waiting = this.#waiting.filter((waiting) => !served.includes(waiting));
    for (const waiting of served) waiting.resolve(message);
  }

  #eachReader(
    session: TestSession,
    act: (connection: TestConnection, reader: Reader) => void,
  ): void {
    for (const connection of this.connections) {
      const reader = connection.readers.find((reader) => reader.session === session);
      if (reader !== undefined) act(connection, reader);
    }
  }
}
