// The golden vectors of the wire format, which the server's tests read as well.

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import type { BinaryKind, Emitted, Presence } from "../src/index.js";
import { decodeBinary, encodeBinary, Terminal } from "../src/index.js";
import { parseMessage } from "../src/messages.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";

interface GoldenMessage {
  direction: "client" | "server";
  name: string;
  json: unknown;
}

interface GoldenBinary {
  name: string;
  kind: number | BinaryKind;
  stream: number;
  offset: number;
  bytes_hex: string;
  wire_hex: string;
}

const KINDS: BinaryKind[] = ["output", "input", "snapshot", "input_ack", "parsed"];

function golden<Vector>(file: string): Vector[] {
  const path = new URL(`../../crates/rejoin-protocol/tests/golden/${file}`, import.meta.url);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Vector[]) : [];
}

describe("golden messages", () => {
  const vectors = golden<GoldenMessage>("messages.json");
  test.skipIf(vectors.length === 0)("server messages are parsed", () => {
    for (const { direction, name, json } of vectors) {
      if (direction !== "server") continue;

      const envelope = typeof json === "string" ? JSON.parse(json) : json;
      const message = parseMessage(JSON.stringify(envelope));
      expect(message, name).not.toBeNull();
      expect(message?.type, name).toBe(envelope.type);
      expect(message?.payload, name).toEqual(envelope.payload ?? {});
      expect(message?.reply_to, name).toBe(envelope.reply_to);
    }
  });
});

describe("golden messages on a connection", () => {
  const vectors = golden<GoldenMessage>("messages.json");
  const find = (direction: string, name: string) =>
    vectors.find((vector) => vector.direction === direction && vector.name === name)?.json as {
      payload: any;
    };
  const deliver = (...names: string[]) => {
    for (const name of names)
      ScriptedSocket.last.deliver({ ...find("server", name), reply_to: undefined });
  };

  test("client messages are written", async () => {
    let token = "old";
    const connection = await connectScripted({
      token: () => token,
      device: { id: "phone-1", name: "My phone" },
    });
    ScriptedSocket.last.accept({
      streams: { "@user": { verdict: "fresh", replayed: 0, position: "5f2c.7" } },
    });
    token = find("client", "authenticate").payload.token;
    ScriptedSocket.last.drop(4500);
    connection.open();
    await Promise.resolve();
    ScriptedSocket.last.accept();
    const { topic, data, key } = find("client", "publish").payload;
    connection.publish(topic, data, { key }).catch(() => {});
    connection.followPresence({ topic: "news" }, () => {});
    const terminal = new Terminal(connection, "s-1");
    terminal.signal("SIGINT").catch(() => {});
    terminal.history({ before: 10_120, generation: 2, lines: 500 }).catch(() => {});
    for (const name of ["authenticate", "publish", "presence", "signal", "history"]) {
      expect(ScriptedSocket.last.requests(name)[0]?.payload, name).toEqual(
        find("client", name).payload,
      );
    }

    connection.close();
  });

  test("server messages are handled", async () => {
    const connection = await connectScripted();
    const emitted: Emitted[] = [];
    const missed = vi.fn();
    const expiring = vi.fn();
    const presence: Presence[] = [];
    connection.on("emitted", (message) => emitted.push(message));
    connection.on("missed", missed);
    connection.on("token_expiring", expiring);
    connection.followPresence({ topic: "news" }, (now) => presence.push(now));
    ScriptedSocket.last.accept(find("server", "auth_result_with_streams").payload);
    deliver("emitted", "emitted_to_connection", "presence", "joined", "token_expiring");

    expect(emitted.map(({ to }) => to)).toEqual(["user", "connection"]);
    expect(emitted[0]).toMatchObject({
      event: "mail.new",
      data: { text: "hello" },
      time: 1_800_000_000_000,
    });
    expect(presence.map(({ members }) => members.length)).toEqual([2, 2]);

    await Promise.resolve();
    await Promise.resolve();
    expect(expiring).toHaveBeenCalledWith(
      expect.objectContaining(find("server", "token_expiring").payload),
    );
    // The connection sent no positions, so the gap of the stream is not reported.
    expect(missed).not.toHaveBeenCalled();

    connection.close();
  });
});

describe("golden binary messages", () => {
  const vectors = golden<GoldenBinary>("binary.json");
  test.skipIf(vectors.length === 0)("binary messages are decoded and encoded", () => {
    for (const vector of vectors) {
      const kind =
        typeof vector.kind === "number" ? (KINDS[vector.kind - 1] as BinaryKind) : vector.kind;
      const bytes = new Uint8Array(Buffer.from(vector.bytes_hex, "hex"));
      const wire = new Uint8Array(Buffer.from(vector.wire_hex, "hex"));
      const { stream, offset } = vector;
      expect(decodeBinary(wire.buffer), vector.name).toEqual({ kind, stream, offset, bytes });
      expect(encodeBinary(kind, stream, offset, bytes), vector.name).toEqual(wire);
    }
  });
});
