import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { Connection, type ConnectionState, RejoinError } from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";
import { connect, nextState } from "./test-client.js";
import { TestServer } from "./test-server.js";

describe("with a server", () => {
  let server: TestServer;
  let connection: Connection;

  beforeEach(async () => {
    server = await TestServer.start();
    // No delay before reconnects.
    vi.spyOn(Math, "random").mockReturnValue(0);
  });
  afterEach(async () => {
    connection.close();
    await server.stop();
    vi.restoreAllMocks();
  });

  test("the first message authenticates", async () => {
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

  test("a lost connection reconnects with a new token", async () => {
    const token = vi.fn(() => "good");
    connection = connect(server, token);
    await nextState(connection, "connected");
    server.cut();
    await nextState(connection, "waiting");
    await nextState(connection, "connected");

    expect(token).toHaveBeenCalledTimes(2);
  });

  test.each([4000, 4001, 4002, 4003, 4004, 4321, 1000, 1011])(
    "it reconnects after %i",
    async (code) => {
      connection = connect(server);
      await nextState(connection, "connected");
      server.close(code);
      expect((await nextState(connection, "waiting")).code).toBe(code);
      await nextState(connection, "connected");
    },
  );

  test.each([4503, 4504, 4505, 4506, 4777])("it stays closed after %i", async (code) => {
    connection = connect(server);
    await nextState(connection, "connected");
    server.close(code, "Access revoked.");

    expect(await nextState(connection, "closed")).toEqual({
      name: "closed",
      code,
      reason: "Access revoked.",
    });

    connection.retryNow();
    expect(connection.state.name).toBe("closed");
  });

  test("a refused token closes it with the server's message", async () => {
    connection = connect(server, () => "expired");
    const closed = await nextState(connection, "closed");
    expect(closed).toEqual({ name: "closed", code: 4502, reason: "The token has expired." });
  });

  test("nothing is sent without a token", async () => {
    connection = connect(server, () => null);
    expect((await nextState(connection, "closed")).code).toBe(4500);
    expect(server.received).toEqual([]);
  });

  test("a closed connection can be opened again", async () => {
    let token = "bad";
    connection = connect(server, () => token);
    await nextState(connection, "closed");
    token = "good";
    connection.open();
    await nextState(connection, "connected");
  });

  test("a failing token provider is retried", async () => {
    const token = vi.fn(async () => "good");
    token.mockRejectedValueOnce(new Error("no network"));
    connection = connect(server, token);

    expect((await nextState(connection, "waiting")).reason).toContain("no network");

    await nextState(connection, "connected");
  });

  test("replies are matched to requests and errors are thrown", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    const [created, refused] = await Promise.allSettled([
      connection.request("create_session", { kind: "terminal", cols: 80, rows: 24 }),
      connection.call("dance"),
    ]);

    expect(created).toMatchObject({
      status: "fulfilled",
      value: { session: { kind: "terminal" } },
    });

    const reason = (refused as PromiseRejectedResult).reason as RejoinError;
    expect(reason).toBeInstanceOf(RejoinError);
    expect([reason.code, reason.retryable]).toEqual(["unknown_type", false]);
  });

  test("pending requests of a lost connection fail as retryable", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    server.ignoresMessages = true;
    const request = connection.call("dance");
    server.cut();

    await expect(request).rejects.toMatchObject({ code: "connection_lost", retryable: true });
    await expect(connection.call("dance")).rejects.toMatchObject({
      code: "not_connected",
      retryable: true,
    });
  });

  test("unknown messages of newer servers are ignored", async () => {
    connection = connect(server);
    await nextState(connection, "connected");
    for (const peer of server.connections) peer.send({ type: "weather", payload: { sunny: true } });
    await connection.request("ping", {});

    expect(connection.state.name).toBe("connected");
    expect(server.received.map(({ type }) => type)).toEqual(["authenticate", "ping"]);
  });
});

describe("with fake timers", () => {
  let connection: Connection;
  const last = () => ScriptedSocket.sockets.at(-1) as ScriptedSocket;
  const socketCount = () => ScriptedSocket.sockets.length;
  const delayMs = () =>
    (connection.state as Extract<ConnectionState, { name: "waiting" }>).retryAt - Date.now();

  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    connection = await connectScripted();
  });
  afterEach(() => {
    connection.close();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test("the delay grows with each failed attempt", async () => {
    const delays: number[] = [];
    for (let i = 0; i < 7; i++) {
      last().drop();
      delays.push(delayMs());
      await vi.advanceTimersByTimeAsync(delayMs());
    }

    expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(socketCount()).toBe(8);
  });

  test("only a stable connection resets the delay", async () => {
    last().drop();
    await vi.advanceTimersByTimeAsync(delayMs());
    last().accept();
    await vi.advanceTimersByTimeAsync(9_000);
    last().drop();

    expect(delayMs()).toBe(1_000);

    await vi.advanceTimersByTimeAsync(delayMs());
    last().accept();
    await vi.advanceTimersByTimeAsync(10_000);
    last().drop();

    expect(delayMs()).toBe(500);
  });

  test("a draining server sets the reconnect time", async () => {
    last().accept();
    const payload = {
      code: 4000,
      reason: "draining",
      reconnect_after_ms: 5_000,
      window_ms: 20_000,
    };
    last().deliver({ type: "closing", payload });
    last().drop(4000);

    expect(delayMs()).toBe(15_000);
    expect(connection.state).toMatchObject({
      code: 4000,
      reason: expect.stringContaining("stopping"),
    });
  });

  test("repeated closes without a delay still back off", async () => {
    for (const delay of [500, 1_000, 2_000]) {
      last().accept();
      last().deliver({
        type: "closing",
        payload: { code: 4003, reason: "", reconnect_after_ms: 0, window_ms: 0 },
      });
      last().drop(4003);
      expect(delayMs()).toBe(delay);
      await vi.advanceTimersByTimeAsync(delay);
    }
  });

  test("a token that arrives after the timeout is ignored", async () => {
    connection.close();
    let provide: (token: string) => void = () => {};
    const token = () => new Promise<string>((resolve) => (provide = resolve));
    connection = new Connection({ url: "ws://server/ws", token, WebSocket: ScriptedSocket });
    connection.open();
    await vi.advanceTimersByTimeAsync(15_000);

    expect(connection.state.name).toBe("waiting");

    const before = socketCount();
    provide("late");
    await vi.advanceTimersByTimeAsync(0);

    expect(socketCount()).toBe(before);
  });

  test("an error without a request is emitted", () => {
    const errors: RejoinError[] = [];
    connection.on("error", (error) => errors.push(error));
    last().accept();
    last().deliver({
      type: "error",
      payload: { code: "rate_limited", message: "Too much.", retryable: true },
    });

    expect(errors).toMatchObject([{ code: "rate_limited", retryable: true, message: "Too much." }]);
  });

  test("an announced close code wins over a network error", () => {
    last().accept();
    last().deliver({ type: "closing", payload: { code: 4502, reason: "token_expired" } });
    last().drop(1006);

    expect(connection.state).toMatchObject({
      name: "closed",
      code: 4502,
      reason: expect.stringContaining("expired"),
    });
  });

  test("an attempt without a response times out", async () => {
    await vi.advanceTimersByTimeAsync(15_000);
    expect(connection.state.name).toBe("waiting");
  });

  test("a silent server is pinged and then dropped", async () => {
    last().accept({ heartbeat_ms: 10_000 });
    await vi.advanceTimersByTimeAsync(15_000);
    last().deliver({ type: "heartbeat" });
    await vi.advanceTimersByTimeAsync(15_000);

    expect(last().sent).toHaveLength(1);

    await vi.advanceTimersByTimeAsync(5_000);
    expect(last().sent.at(-1)?.type).toBe("ping");

    last().deliver({ type: "pong", reply_to: last().sent.at(-1)?.id, payload: { time: 1 } });
    await vi.advanceTimersByTimeAsync(29_000);
    expect(connection.state.name).toBe("connected");

    await vi.advanceTimersByTimeAsync(1_000);
    expect(connection.state.name).toBe("waiting");
  });

  test("retryNow connects at once", async () => {
    last().drop();
    connection.retryNow();
    await vi.advanceTimersByTimeAsync(0);

    expect(socketCount()).toBe(2);

    await vi.advanceTimersByTimeAsync(10_000);
    expect(socketCount()).toBe(2);
  });
});
