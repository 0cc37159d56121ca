// One connection of the in-memory server: it handles the messages of its client.

import type { IncomingMessage } from "node:http";
import type { WebSocket } from "ws";
import { decodeBinary, encodeBinary } from "../src/binary.js";
import type { TestServer } from "./test-server.js";
import type { Reader } from "./test-session.js";

/** The server's side of a connection. */
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
    // A cookie authenticates at once, without a request.
    if (headers.cookie?.includes("rejoin_session=good"))
      this.send({ type: "auth_result", payload: this.#auth() });
    socket.on("message", (data: Buffer, binary) => {
      if (server.ignoresMessages) return;
      if (binary) this.#receiveInput(data);
      else this.#handleRequest(JSON.parse(data.toString()));
    });
    socket.on("close", () => {
      server.connections.delete(this);
      server.broadcastPresence();
      for (const { session } of this.readers) server.updateConnections(session, -1);
    });
  }

  send(message: { type: string; reply_to?: string; payload: unknown }): void {
    this.socket.send(JSON.stringify(message));
  }

  binary(
    kind: "output" | "snapshot" | "input_ack",
    stream: number,
    offset: number,
    bytes = Buffer.alloc(0),
  ): void {
    this.socket.send(encodeBinary(kind, stream, offset, bytes));
  }

  #receiveInput(data: Buffer): void {
    const message = decodeBinary(new Uint8Array(data).buffer);
    const reader = this.readers.find((reader) => reader.stream === message?.stream);
    if (message === null || reader === undefined) return;

    if (message.kind === "parsed") {
      this.server.record({ type: "parsed", payload: { bytes: message.offset } });
      return;
    }

    const { session, writer } = reader;
    const text = Buffer.from(message.bytes).toString();
    if (this.server.refuseInputs > 0) {
      this.server.refuseInputs -= 1;
      this.send({
        type: "error",
        payload: { code: "input_full", message: "The queue is full.", retryable: true },
      });
      return;
    }

    if (message.offset === (session.writers.get(writer) ?? 0) + 1) {
      session.writers.set(writer, message.offset);
      session.input += text;
      this.server.takeSize(session, reader, this.id);
      if (this.server.options.echo) this.server.print(session, text.replaceAll("\r", "\r\n$ "));
    }

    this.server.record({ type: "input", payload: { seq: message.offset, text, writer } });
    if (!this.server.withholdAcks) this.binary("input_ack", reader.stream, message.offset);
  }

  #handleRequest({ id, type, payload }: { id: string; type: string; payload: any }): void {
    const reply = (type: string, payload: unknown) => this.send({ type, reply_to: id, payload });
    const refuse = (code: string, message: string, retryable = false) =>
      reply("error", { code, message, retryable });
    switch (type) {
      case "authenticate":
        this.#authenticate(payload.token, reply);
        break;
      case "ping":
        reply("pong", { time: Date.now() });
        break;
      case "create_session": {
        const { kind, profile, name, cols, rows } = payload;
        const session = this.server.createSession({
          kind,
          profile: profile ?? "terminal",
          name: name ?? null,
          cols,
          rows,
        });
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
          this.server.change(session, {
            status: "terminated",
            exit: { code: null, signal: "SIGHUP" },
          });
          this.server.sessions.delete(payload.session);
        }

        break;
      }
      case "resize":
        this.#resize(payload);
        reply("ack", {});
        break;
      case "subscribe": {
        const { topic, position } = payload;
        const { start, messages } = this.server.topic(topic).read(position);
        this.topics.add(topic);
        reply("ack", { topic, ...start });
        for (const message of messages)
          this.send({ type: "message", payload: { topic, ...message, time: Date.now() } });
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
        refuse("unknown_type", `The type ${type} is unknown.`);
    }

    this.server.record({ type, payload });
  }

  #authenticate(token: string, reply: (type: string, payload: unknown) => void): void {
    if (token === "good") {
      reply("auth_result", this.#auth());
      return;
    }

    const expired = token === "expired";
    const message = `The token ${expired ? "has expired" : "is not valid"}.`;
    const error = { code: "authentication_failed", message };
    reply("auth_result", { authenticated: false, error });
    this.socket.close(expired ? 4502 : 4500);
  }

  #resize({ session, cols, rows }: { session: string; cols: number; rows: number }): void {
    const reader = this.readers.find((reader) => reader.session.info.id === session);
    if (reader === undefined) return;

    reader.cols = cols;
    reader.rows = rows;
    if (reader.session.sizeOwner === this.id) this.server.change(reader.session, { cols, rows });
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
      refuse("unknown_session", "The session does not exist.");
      return;
    }

    const end = session.output.length;
    const [epoch, offset] = (payload.position ?? "").split(".");
    const from = Number(offset);
    const isRetained =
      epoch === session.epoch &&
      from <= end &&
      end - from <= (this.server.options.ringBytes ?? Infinity);
    const verdict = payload.position === undefined ? "fresh" : isRetained ? "resumed" : "snapshot";
    const stream = ++this.#streams;
    const { cols = 80, rows = 24, writer = this.id, role = "writer" } = payload;
    this.readers.push({ session, stream, writer, role, cols, rows });
    this.server.updateConnections(session, +1);
    session.sizeOwner ??= this.id;
    if (session.sizeOwner === this.id) Object.assign(session.info, { cols, rows });
    reply("attached", {
      session: session.info.id,
      stream,
      role,
      verdict,
      position: `${session.epoch}.${isRetained ? from : end}`,
      cols: session.info.cols,
      rows: session.info.rows,
      status: session.info.status,
      title: session.info.title,
      input_seq: session.writers.get(writer) ?? 0,
      size_owner: session.sizeOwner,
      exit: session.info.exit ?? null,
      ...(this.server.options.windows && { window: payload.window }),
    });
    if (verdict !== "resumed") this.binary("snapshot", stream, end, session.output);
    else
      session.replay(
        from,
        (at, bytes) => this.binary("output", stream, at, bytes),
        (message) => this.send(message),
      );
  }

  #leave(id: string): void {
    const index = this.readers.findIndex((reader) => reader.session.info.id === id);
    const [reader] = index < 0 ? [] : this.readers.splice(index, 1);
    if (reader !== undefined) this.server.updateConnections(reader.session, -1);
  }
}
