import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { Connection, type ConnectionState, RejoinError } from "../src/index.js";
import { connect, nextState } from "./test-client.js";
import { ScriptedSocket } from "./scripted-socket.js";
import { TestServer } from "./test-server.js";

describe("with a server", () => {
  let server: TestServer;
  let connection: Connection;

  beforeEach(async () => {
    server = await TestServer.start();
    vi.spyOn(Math, "random").mockReturnValue(0);
  });
  afterEach(async () => {
    connection.close();
    await server.stop();
    vi.restoreAllMocks();
  });

  test("it authenticates with the first message", async () => {
    connection = new Connection({
      url: server.url,
      token: async () => "good",
      device: { id: "laptop", name: "Laptop" },
      WebSocket,
    });
    connection.open();
    const { auth } = await nextState(connection, "connected");
    expect(auth.user_id).toBe("ada");
    expect(server.received[0]).toEqual({
      type: "authenticate",
      payload: { token: "good", device_id: "laptop", device_name: "Laptop" },
    });
  });

  test("a lost connection comes back, and the token is asked for again", async () => {
    const token = vi.fn(() => "good");
    connection = connect(server, token);
    await nextState(connection, "connected");
    server.cut();
    await nextState(connection, "waiting");
    await nextState(connection, "connected");
    expect(token).toHaveBeenCalledTimes(2);
  });

  test.each([4000, 4001, 4002, 4003, 4004, 4321, 1000, 1011])("it comes back after %i", async (code) => {
    connection = connect(server);
    await nextState(connection, "connected");
    server.close(code);
    expect((await nextState(connection, "waiting")).code).toBe(code);
    await nextState(connection, "connected");
  });

  test.each([4503, 4504, 4505, 4506, 4777])("it does not come back after %i", async (code) => {
    connection = connect(server);
    await nextState(connection, "connected");
    server.close(code, "Not again.");
    expect(await nextState(connection, "closed")).toEqual({ name: "closed", code, reason: "Not again." });
    connection.retryNow();
    expect(connection.state.name).toBe("closed");
  });

  test("a refused token ends it, with the server's sentence", async () => {
    connection = connect(server, () => "expired");
    const closed = await nextState(connection, "closed");
    expect(closed).toEqual({ name: "closed", code: 4502, reason: "The token has expired." });
  });

  test("without a token nothing is sent", async () => {
    connection = connect(server, () => null);
    expect((await nextState(connection, "closed")).code).toBe(4500);
    expect(server.received).toEqual([]);
  });

  test("it can be opened again after it was closed", async () => {
    let token = "bad";
    connection = connect(server, () => token);
    await nextState(connection, "closed");
    token = "good";
    connection.open();
    await nextState(connection, "connected");
  });

  test("a provider that fails is asked again later", async () => {
    const token = vi.fn(async () => "good");
    token.mockRejectedValueOnce(new Error("no network"));
    connection = connect(server, token);
    expect((await nextState(connection, "waiting")).reason).toContain("no network");
    await nextState(connection, "connected");
  });

  test("answers find their question; errors are thrown", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    const [created, refused] = await Promise.allSettled([
      connection.request("create_session", { kind: "terminal", cols: 80, rows: 24 }),
      connection.call("dance"),
    ]);
    expect(created).toMatchObject({ status: "fulfilled", value: { session: { kind: "terminal" } } });
    const reason = (refused as PromiseRejectedResult).reason as RejoinError;
    expect(reason).toBeInstanceOf(RejoinError);
    expect([reason.code, reason.retryable]).toEqual(["unknown_type", false]);
  });

  test("a question on its way when the connection is lost fails as retryable", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    server.deaf = true;
    const question = connection.call("dance");
    server.cut();
    await expect(question).rejects.toMatchObject({ code: "connection_lost", retryable: true });
    await expect(connection.call("dance")).rejects.toMatchObject({ code: "not_connected", retryable: true });
  });

  test("what a newer server says is ignored", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    for (const peer of server.connections) peer.say({ type: "weather", payload: { sunny: true } });
    await connection.request("ping", {});
    expect(connection.state.name).toBe("connected");
    expect(server.received.map(({ type }) => type)).toEqual(["authenticate", "ping"]);
  });
});

describe("over time", () => {
  let connection: Connection;
  const last = () => ScriptedSocket.sockets.at(-1) as ScriptedSocket;
  const count = () => ScriptedSocket.sockets.length;
  const waitsMs = () => (connection.state as Extract<ConnectionState, { name: "waiting" }>).retryAt - Date.now();

  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    ScriptedSocket.sockets = [];
    connection = new Connection({ url: "ws://server/ws", token: () => "good", WebSocket: ScriptedSocket });
    connection.open();
    await vi.advanceTimersByTimeAsync(0);
  });
  afterEach(() => {
    connection.close();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test("each attempt that fails makes the next one wait longer", async () => {
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      last().drop();
      waits.push(waitsMs());
      await vi.advanceTimersByTimeAsync(waitsMs());
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(count()).toBe(8);
  });

  test("only a connection that was stable makes the waits short again", async () => {
    last().drop();
    await vi.advanceTimersByTimeAsync(waitsMs());
    last().accept();
    await vi.advanceTimersByTimeAsync(9_000);
    last().drop();
    expect(waitsMs()).toBe(1_000);
    await vi.advanceTimersByTimeAsync(waitsMs());
    last().accept();
    await vi.advanceTimersByTimeAsync(10_000);
    last().drop();
    expect(waitsMs()).toBe(500);
  });

  test("a server that drains says when to come back", async () => {
    last().accept();
    const payload = { code: 4000, reason: "draining", reconnect_after_ms: 5_000, window_ms: 20_000 };
    last().say({ type: "closing", payload });
    last().drop(4000);
    expect(waitsMs()).toBe(15_000);
    expect(connection.state).toMatchObject({ code: 4000, reason: expect.stringContaining("stopping") });
  });

  test("a server that lets nobody stay is not run against", async () => {
    for (const wait of [500, 1_000, 2_000]) {
      last().accept();
      last().say({ type: "closing", payload: { code: 4003, reason: "", reconnect_after_ms: 0, window_ms: 0 } });
      last().drop(4003);
      expect(waitsMs()).toBe(wait);
      await vi.advanceTimersByTimeAsync(wait);
    }
  });

  test("a token that never comes is given up, and not used when it comes", async () => {
    connection.close();
    let give: (token: string) => void = () => {};
    const token = () => new Promise<string>((resolve) => (give = resolve));
    connection = new Connection({ url: "ws://server/ws", token, WebSocket: ScriptedSocket });
    connection.open();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(connection.state.name).toBe("waiting");
    const sockets = count();
    give("late");
    await vi.advanceTimersByTimeAsync(0);
    expect(count()).toBe(sockets);
  });

  test("an error that answers nothing is told", () => {
    const errors: RejoinError[] = [];
    connection.on("error", (error) => errors.push(error));
    last().accept();
    last().say({ type: "error", payload: { code: "rate_limited", message: "Too much.", retryable: true } });
    expect(errors).toMatchObject([{ code: "rate_limited", retryable: true, message: "Too much." }]);
  });

  test("what was announced counts more than a broken network", () => {
    last().accept();
    last().say({ type: "closing", payload: { code: 4502, reason: "token_expired" } });
    last().drop(1006);
    expect(connection.state).toMatchObject({ name: "closed", code: 4502, reason: expect.stringContaining("expired") });
  });

  test("a server that does not answer is given up", async () => {
    await vi.advanceTimersByTimeAsync(15_000);
    expect(connection.state.name).toBe("waiting");
  });

  test("silence is asked about, and no answer means lost", async () => {
    last().accept({ heartbeat_ms: 10_000 });
    await vi.advanceTimersByTimeAsync(15_000);
    last().say({ type: "heartbeat" });
    await vi.advanceTimersByTimeAsync(15_000);
    expect(last().sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(last().sent.at(-1)?.type).toBe("ping");
    last().say({ type: "pong", reply_to: last().sent.at(-1)?.id, payload: { time: 1 } });
    await vi.advanceTimersByTimeAsync(29_000);
    expect(connection.state.name).toBe("connected");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(connection.state.name).toBe("waiting");
  });

  test("retryNow does not wait", async () => {
    last().drop();
    connection.retryNow();
    await vi.advanceTimersByTimeAsync(0);
    expect(count()).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(count()).toBe(2);
  });
});

describe("in a browser's page", () => {
  let connection: Connection;
  let page: EventTarget;
  const last = () => ScriptedSocket.sockets.at(-1) as ScriptedSocket;

  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.999);
    page = Object.assign(new EventTarget(), { visibilityState: "visible" });
    vi.stubGlobal("window", page);
    vi.stubGlobal("document", page);
    ScriptedSocket.sockets = [];
    connection = new Connection({ url: "ws://server/ws", token: () => "good", WebSocket: ScriptedSocket });
    connection.open();
    await vi.advanceTimersByTimeAsync(0);
  });
  afterEach(() => {
    connection.close();
    vi.unstubAllGlobals();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  const wakes = [
    new Event("online"),
    new Event("visibilitychange"),
    Object.assign(new Event("pageshow"), { persisted: true }),
  ];

  test.each(wakes)("$type tries again at once", async (event) => {
    last().drop();
    page.dispatchEvent(event);
    await vi.advanceTimersByTimeAsync(0);
    expect(ScriptedSocket.sockets).toHaveLength(2);
  });

  test("a first pageshow is no reason", async () => {
    last().drop();
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
    await vi.advanceTimersByTimeAsync(0);
    expect(ScriptedSocket.sockets).toHaveLength(1);
  });

  test("waking up does not overrun a server that drains", async () => {
    last().accept();
    const payload = { code: 4000, reason: "", reconnect_after_ms: 5_000, window_ms: 0 };
    last().say({ type: "closing", payload });
    last().drop(4000);
    page.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(4_999);
    expect(ScriptedSocket.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(ScriptedSocket.sockets).toHaveLength(2);
  });

  test("a socket that died in its sleep is found out soon", async () => {
    last().accept();
    page.dispatchEvent(new Event("visibilitychange"));
    expect(last().sent.at(-1)?.type).toBe("ping");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(connection.state.name).toBe("waiting");
  });
});
