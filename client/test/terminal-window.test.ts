// Acknowledgements of what the screen has parsed.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Connection, decodeBinary, encodeBinary, Terminal } from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";
import { connect, Viewer } from "./test-client.js";
import { TestServer } from "./test-server.js";
import type { TestSession } from "./test-session.js";

let server: TestServer;
let session: TestSession;
let connection: Connection;

beforeEach(async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  server = await TestServer.start({ windows: true });
  session = server.createSession();
  connection = connect(server);
});
afterEach(async () => {
  vi.useRealTimers();
  connection.close();
  await server.stop();
  vi.restoreAllMocks();
});

/** Returns the counts of all acknowledgements. */
function acknowledged(): number[] {
  const parsed = server.received.filter(({ type }) => type === "parsed");
  return parsed.map(({ payload }) => payload.bytes);
}

test("each quarter of the window is acknowledged once parsed", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  viewer.backlog = [];
  server.print(session, Buffer.alloc(40_000, "x"));
  server.print(session, Buffer.alloc(40_000, "y"));
  server.print(session, "end");
  await viewer.shows("end");
  await connection.request("ping", {});
  expect(acknowledged()).toEqual([]);

  for (const finish of viewer.backlog) finish();
  for (const finish of viewer.backlog) finish();
  await connection.request("ping", {});
  // The snapshot of 3 bytes, then 40,000 bytes behind headers of 3 and 5 bytes.
  expect(acknowledged()).toEqual([3 + 40_003 + 40_005]);
});

test("repeated output counts as parsed", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  const bytes = Buffer.alloc(50_000, "x");
  server.print(session, bytes);
  await viewer.shows("x");
  for (const reader of server.connections) reader.binary("output", 1, 0, bytes);
  await connection.request("ping", {});

  expect(acknowledged()).toEqual([3 + 50_003, 3 + 2 * 50_003]);
});

test("output of an earlier attach is not acknowledged", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  viewer.backlog = [];
  server.print(session, Buffer.alloc(60_000, "x"));
  await viewer.shows("x");
  server.cut();
  await viewer.attached();
  for (const finish of viewer.backlog) finish();
  await connection.request("ping", {});

  expect(acknowledged()).toEqual([]);
});

test("a server without windows gets no acknowledgements", async () => {
  server.options.windows = false;
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, Buffer.alloc(300_000, "x"));
  await viewer.shows("x");
  await connection.request("ping", {});

  expect(acknowledged()).toEqual([]);
});

test("refused acknowledgements are sent again", async () => {
  vi.useFakeTimers();
  connection.close();
  connection = await connectScripted();
  const last = () => ScriptedSocket.last;
  last().accept();
  const terminal = new Terminal(connection, "s-1");
  await vi.advanceTimersByTimeAsync(0);
  const attached = { session: "s-1", stream: 3, position: "e.0", input_seq: 0, window: 196_608 };
  last().reply("attach", { ...attached, status: "active" }, "attached");
  terminal.on("output", ({ parsed }) => parsed());
  last().deliverBinary(encodeBinary("snapshot", 3, 0, new Uint8Array(10)));
  last().deliverBinary(encodeBinary("output", 3, 0, new Uint8Array(60_000)));
  last().deliver({
    type: "error",
    payload: { code: "rate_limited", message: "Too much.", retryable: true },
  });
  await vi.advanceTimersByTimeAsync(250);
  const sent = last().binary.map((bytes) => decodeBinary(bytes.slice().buffer));

  expect(sent).toMatchObject([
    { kind: "parsed", offset: 60_003 },
    { kind: "parsed", offset: 60_003 },
  ]);
});
