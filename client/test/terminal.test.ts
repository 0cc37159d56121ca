import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type Connection,
  decodeBinary,
  type SessionChange,
  Terminal,
  type TerminalEvents,
} from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";
import { connect, next, nextState, Viewer } from "./test-client.js";
import { TestServer } from "./test-server.js";
import type { TestSession } from "./test-session.js";

let server: TestServer;
let session: TestSession;
let connection: Connection;

beforeEach(async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  server = await TestServer.start({ ringBytes: 1024 * 1024 });
  session = server.createSession();
  connection = connect(server);
});
afterEach(async () => {
  connection.close();
  await server.stop();
  vi.restoreAllMocks();
});

test("a late viewer gets the state, then the output", async () => {
  server.print(session, "before ");
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, "after");
  await viewer.shows("before after");

  expect(viewer.verdicts).toEqual(["fresh"]);
});

test("a reconnect fetches only the missing output", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, "one ");
  await viewer.shows("one ");
  server.cut();
  server.print(session, "two ");
  await viewer.shows("one two ");
  server.print(session, "three");
  await viewer.shows("one two three");

  expect(viewer.verdicts).toEqual(["fresh", "resumed"]);
  expect(viewer.snapshots).toBe(1);
  expect(viewer.terminal.position).toBe("1.13");
});

test("a snapshot replaces output that is lost", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, "one ");
  await viewer.shows("one ");
  server.cut();
  session.epoch = "2";
  server.print(session, "two");
  await viewer.shows("one two");

  expect(viewer.verdicts).toEqual(["fresh", "snapshot"]);
  expect(viewer.snapshots).toBe(2);
});

test("a snapshot may arrive between output", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, "one ");
  session.output = Buffer.from("the state ");
  server.skipToSnapshot(session);
  server.print(session, "two");
  await viewer.shows("the state two");

  expect(viewer.terminal.position).toBe("1.13");
});

test("a snapshot has the range of the lines above it", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  const histories: unknown[] = [];
  viewer.terminal.on("snapshot", ({ history }) => histories.push(history));
  server.skipToSnapshot(session);
  const history = { generation: 1, first: 3, end: 40 };
  server.change(session, { history });
  server.skipToSnapshot(session);
  server.print(session, "end");
  await viewer.shows("end");

  expect(histories).toEqual([null, history]);
});

test("repeated bytes are shown once", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.print(session, "one ");
  for (const reader of server.connections) {
    reader.binary("output", 1, 0, Buffer.from("one"));
    reader.binary("output", 1, 2, Buffer.from("e two"));
  }

  await viewer.shows("one two");
});

test("a gap in the output is fetched", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  session.output = Buffer.from("lost ");
  server.print(session, "seen");
  await viewer.shows("lost seen");

  expect(viewer.verdicts).toEqual(["fresh", "resumed"]);
});

test("keys arrive once and in order across reconnects", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.withholdAcks = true;
  const arrived = server.next("input", ({ text }) => text === "b");
  viewer.terminal.input("a");
  viewer.terminal.input("b");
  await arrived;
  server.cut();
  viewer.terminal.input("c");
  server.withholdAcks = false;
  await server.next("input", ({ text }) => text === "c");
  viewer.terminal.input("d");
  await server.next("input", ({ text }) => text === "d");

  expect(session.input).toBe("abcd");
  expect(
    server.received.filter(({ type }) => type === "input").map(({ payload }) => payload.seq),
  ).toEqual([1, 2, 3, 4]);
});

test("input that never arrived is resent", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.ignoresMessages = true;
  viewer.terminal.input("a");
  viewer.terminal.input("b");
  server.cut();
  server.ignoresMessages = false;
  await server.next("input", ({ text }) => text === "b");

  expect(session.input).toBe("ab");
});

test("refused input is resent", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.refuseInputs = 2;
  viewer.terminal.input("a");
  viewer.terminal.input("b");
  await server.next("input", ({ text }) => text === "b");

  expect(session.input).toBe("ab");
});

test("keys typed before the attach wait for it", async () => {
  const viewer = new Viewer(connection, session);
  viewer.terminal.input("ls\r");
  await server.next("input");

  expect(session.input).toBe("ls\r");
});

test("a large paste arrives complete", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  const paste = "0123456789abcdef".repeat(20_000);
  const arrived = server.next("input", ({ seq }) => seq === Math.ceil(paste.length / 8192));
  viewer.terminal.input(paste);
  await arrived;

  expect(session.input).toBe(paste);
});

test("a viewer's keys are dropped", async () => {
  const viewer = new Viewer(connection, session, { role: "viewer" });
  viewer.terminal.input("x");
  await viewer.attached();
  viewer.terminal.input("y");

  expect(viewer.terminal.pendingInputBytes).toBe(0);
});

test("keys to an ended session are dropped", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  server.change(session, { status: "terminated", exit: { code: 3, signal: null } });
  const change = await next<TerminalEvents, "session">(viewer.terminal, "session");

  expect(change.exit).toEqual({ code: 3, signal: null });

  viewer.terminal.input("x");
  expect(viewer.terminal.pendingInputBytes).toBe(0);
});

test("size changes are ordered with the output", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  const seen: string[] = [];
  viewer.terminal.on("session", ({ cols, rows }: SessionChange) =>
    seen.push(`${viewer.screen}@${cols}x${rows}`),
  );
  server.print(session, "one ");
  server.change(session, { cols: 100, rows: 30 });
  server.print(session, "two");
  await viewer.shows("one two");

  expect(seen).toEqual(["one @100x30"]);
});

test("the local size is sent on attach and on change", async () => {
  const viewer = new Viewer(connection, session, { cols: 100, rows: 30 });
  await viewer.attached();
  viewer.terminal.resize(100, 30);
  viewer.terminal.resize(90, 20);

  expect((await server.next("resize")).payload).toEqual({
    session: session.info.id,
    cols: 90,
    rows: 20,
  });

  server.cut();
  expect((await server.next("attach")).payload).toMatchObject({
    cols: 90,
    rows: 20,
    position: "1.0",
  });
  expect(server.received.filter(({ type }) => type === "resize")).toHaveLength(1);
});

test("a missing session is reported", async () => {
  server.sessions.delete(session.info.id);
  const viewer = new Viewer(connection, session);
  const error = await next<TerminalEvents, "failed">(viewer.terminal, "failed");

  expect(error.code).toBe("unknown_session");
});

test("a retryable attach error is retried", async () => {
  server.attachError = { code: "overloaded", message: "Try again later.", retryable: true };
  const viewer = new Viewer(connection, session);
  await server.next("attach");
  server.attachError = null;
  await viewer.attached();
});

test("a detached terminal stays detached after a reconnect", async () => {
  const viewer = new Viewer(connection, session);
  await viewer.attached();
  viewer.terminal.detach();
  await server.next("detach");
  server.cut();
  await nextState(connection, "connected");
  await connection.request("ping", {});

  expect(server.received.filter(({ type }) => type === "attach")).toHaveLength(1);
});

describe("with fake timers", () => {
  let terminal: Terminal;
  const last = () => ScriptedSocket.last;

  beforeEach(async () => {
    vi.useFakeTimers();
    connection.close();
    connection = await connectScripted();
    last().accept();
    terminal = new Terminal(connection, "s-1", { cols: 80, rows: 24 });
    await vi.advanceTimersByTimeAsync(0);
    last().reply(
      "attach",
      { session: "s-1", stream: 3, position: "e.0", input_seq: 0, status: "active" },
      "attached",
    );
  });
  afterEach(() => {
    terminal.detach();
    vi.useRealTimers();
  });

  test("a signal is sent to the program", async () => {
    const sent = terminal.signal("SIGINT");
    expect(last().requests("signal")[0]?.payload).toEqual({ session: "s-1", signal: "SIGINT" });

    last().reply("signal", {});
    await sent;
    const refused = terminal.signal("SIGKILL");
    last().refuse("signal", "session_ended");

    await expect(refused).rejects.toMatchObject({ code: "session_ended" });
  });

  test("rate-limited keys are resent", async () => {
    terminal.input("a");
    last().deliver({
      type: "error",
      payload: { code: "rate_limited", message: "Too much.", retryable: true },
    });
    await vi.advanceTimersByTimeAsync(250);
    const pieces = last().binary.map((bytes) => decodeBinary(bytes.slice().buffer));

    expect(pieces).toMatchObject([{ offset: 1 }, { offset: 1 }]);
  });

  test("a refused size is resent unless a newer one follows", async () => {
    terminal.resize(100, 30);
    last().refuse("resize", "rate_limited", true);
    await vi.advanceTimersByTimeAsync(500);
    last().refuse("resize", "rate_limited", true);
    terminal.resize(120, 40);
    last().reply("resize", {});
    await vi.advanceTimersByTimeAsync(5_000);

    expect(
      last()
        .requests("resize")
        .map(({ payload }) => payload.cols),
    ).toEqual([100, 100, 120]);
  });
});
