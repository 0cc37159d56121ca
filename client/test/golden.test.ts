// The wire vectors that the server's tests read too.

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeBinary, encodeBinary } from "../src/index.js";
import type { BinaryKind } from "../src/index.js";
import { readMessage } from "../src/messages.js";

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

const KINDS: BinaryKind[] = ["output", "input", "snapshot", "input_ack"];

function golden<Vector>(file: string): Vector[] {
  const path = new URL(`../../crates/rejoin-protocol/tests/golden/${file}`, import.meta.url);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Vector[]) : [];
}

describe("golden messages", () => {
  const vectors = golden<GoldenMessage>("messages.json");
  test.skipIf(vectors.length === 0)("the server's are read", () => {
    for (const { direction, name, json } of vectors) {
      if (direction !== "server") continue;
      const envelope = typeof json === "string" ? JSON.parse(json) : json;
      const message = readMessage(JSON.stringify(envelope));
      expect(message, name).not.toBeNull();
      expect(message?.type, name).toBe(envelope.type);
      expect(message?.payload, name).toEqual(envelope.payload ?? {});
      expect(message?.reply_to, name).toBe(envelope.reply_to);
    }
  });
});

describe("golden binary messages", () => {
  const vectors = golden<GoldenBinary>("binary.json");
  test.skipIf(vectors.length === 0)("are read and written", () => {
    for (const vector of vectors) {
      const kind = typeof vector.kind === "number" ? (KINDS[vector.kind - 1] as BinaryKind) : vector.kind;
      const bytes = new Uint8Array(Buffer.from(vector.bytes_hex, "hex"));
      const wire = new Uint8Array(Buffer.from(vector.wire_hex, "hex"));
      const { stream, offset } = vector;
      expect(decodeBinary(wire.buffer), vector.name).toEqual({ kind, stream, offset, bytes });
      expect(encodeBinary(kind, stream, offset, bytes), vector.name).toEqual(wire);
    }
  });
});
