import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Connection, Emitted, Missed } from "../src/index.js";
import { connectScripted, reconnect, ScriptedSocket } from "./scripted-socket.js";

let connection: Connection;
let events: (Emitted | Missed)[];
const data = () =>
  events.map((item) => ("missed" in item ? `missed ${item.missed} ${item.reason}` : item.data));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function connect(options?: Parameters<typeof connectScripted>[0]): Promise<void> {
  connection = await connectScripted(options);
  events = [];
  connection.on("emitted", (emitted) => events.push(emitted));
  connection.on("missed", (missed) => events.push(missed));
}

function start(position: string, verdict = "fresh", more: object = {}): object {
  return { verdict, replayed: 0, position, ...more };
}

function deliver(topic: string, position: string | undefined, data: unknown): void {
  ScriptedSocket.last.deliver({
    type: "message",
    payload: { topic, position, event: "mail.new", data, time: 7 },
  });
}

describe("with a token", () => {
  beforeEach(async () => {
    await connect({ token: () => "good", device: { id: "phone" } });
    ScriptedSocket.last.accept({
      streams: { "@all": start("a.1"), "@user": start("u.1"), "@device": start("d.1") },
    });
  });

  test("events name their audience", () => {
    deliver("@connection", undefined, 1);
    deliver("@device", "d.2", 2);
    deliver("@user", "u.2", 3);
    deliver("@all", "a.2", 4);
    deliver("news", "n.2", 5);

    expect(events).toEqual([
      { to: "connection", event: "mail.new", data: 1, time: 7 },
      { to: "device", event: "mail.new", data: 2, time: 7 },
      { to: "user", event: "mail.new", data: 3, time: 7 },
      { to: "all", event: "mail.new", data: 4, time: 7 },
    ]);
  });

  test("a reconnect sends the positions of the last messages", async () => {
    expect(ScriptedSocket.last.requests("authenticate")[0]?.payload.positions).toBeUndefined();

    deliver("@user", "u.2", "before");
    const socket = await reconnect();
    socket.accept({
      streams: { "@all": start("a.1", "resumed"), "@user": start("u.2", "resumed") },
    });

    expect(socket.requests("authenticate")[0]?.payload.positions).toEqual({
      "@all": "a.1",
      "@user": "u.2",
      "@device": "d.1",
    });

    deliver("@user", "u.3", "meanwhile");
    expect(data()).toEqual(["before", "meanwhile"]);
    expect(socket.requests("subscribe")).toEqual([]);
  });

  test("an interrupted resume continues at its last message", async () => {
    const first = await reconnect();
    first.accept({ streams: { "@user": start("u.1", "resumed", { replayed: 2 }) } });
    deliver("@user", "u.2", 2);
    const second = await reconnect();
    second.accept({ streams: { "@user": start("u.2", "resumed", { replayed: 1 }) } });
    deliver("@user", "u.3", 3);

    expect(second.requests("authenticate")[0]?.payload.positions["@user"]).toBe("u.2");
    expect(data()).toEqual([2, 3]);
  });

  test("a gap is reported before the remaining messages", async () => {
    const socket = await reconnect();
    const gap = { missed: 4, reason: "retention" };
    socket.accept({
      streams: { "@user": start("u.5", "gap", gap), "@device": start("d.1", "resumed") },
    });
    deliver("@user", "u.6", "left");

    expect(events[0]).toEqual({ to: "user", ...gap });
    expect(data()).toEqual(["missed 4 retention", "left"]);

    await reconnect();
    ScriptedSocket.last.accept();
    expect(ScriptedSocket.last.requests("authenticate")[0]?.payload.positions["@user"]).toBe("u.6");
  });

  test("a slow reader's gap is reported and moves the position", async () => {
    const payload = { topic: "@user", missed: 3, reason: "retention", position: "u.4" };
    ScriptedSocket.last.deliver({ type: "gap", payload });
    expect(data()).toEqual(["missed 3 retention"]);

    const socket = await reconnect();
    socket.accept();
    expect(socket.requests("authenticate")[0]?.payload.positions["@user"]).toBe("u.4");
  });

  test("another user has no gap", async () => {
    const socket = await reconnect();
    socket.accept({
      user_id: "bob",
      streams: { "@user": start("x.9", "gap", { reason: "epoch" }) },
    });

    expect(events).toEqual([]);

    const next = await reconnect();
    next.accept({ user_id: "bob" });
    expect(next.requests("authenticate")[0]?.payload.positions).toEqual({ "@user": "x.9" });
  });
});

describe("with a cookie", () => {
  beforeEach(async () => {
    await connect({ device: { id: "tab-1", name: "Ada's tab" } });
    ScriptedSocket.last.accept({ streams: { "@user": start("u.1") } });
    deliver("@user", "u.2", 2);
  });

  test("the server authenticates and the query names the device", () => {
    expect(connection.state).toMatchObject({ name: "connected", auth: { user_id: "ada" } });
    expect(ScriptedSocket.last.sent).toEqual([]);
    expect(ScriptedSocket.last.url).toBe("ws://server/ws?device_id=tab-1&device_name=Ada%27s+tab");
  });

  test("a resume emits no message twice", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    expect(socket.requests("subscribe").map(({ payload }) => payload)).toEqual([
      { topic: "@user", position: "u.2" },
    ]);

    deliver("@user", "u.5", 5);
    socket.reply("subscribe", { topic: "@user", ...start("u.2", "resumed", { replayed: 3 }) });
    for (const number of [3, 4, 5, 6]) deliver("@user", `u.${number}`, number);

    expect(data()).toEqual([2, 3, 4, 5, 6]);
  });

  test("a repeated message is dropped", () => {
    deliver("@user", "u.3", 3);
    deliver("@user", "u.2", 2);
    deliver("@user", "u.3", 3);

    expect(data()).toEqual([2, 3]);
  });

  test("an unchanged position needs no request", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.2") } });
    deliver("@user", "u.3", 3);

    expect(socket.sent).toEqual([]);
    expect(data()).toEqual([2, 3]);
  });

  test("a gap is reported", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.9") } });
    const gap = { missed: 5, reason: "retention" };
    socket.reply("subscribe", { topic: "@user", ...start("u.7", "gap", gap) });
    deliver("@user", "u.8", 8);

    expect(data()).toEqual([2, "missed 5 retention", 8]);
  });

  test("a refused resume reports a gap and keeps later messages", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    deliver("@user", "u.5", 5);
    socket.refuse("subscribe", "unknown_topic");
    deliver("@user", "u.6", 6);

    expect(data()).toEqual([2, "missed null unknown_topic", 5, 6]);
  });

  test("held messages are bounded and a late reply is ignored", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    for (let number = 5; number <= 1005; number++) deliver("@user", `u.${number}`, number);

    expect(data().slice(0, 3)).toEqual([2, "missed null too_many", 5]);

    socket.reply("subscribe", {
      topic: "@user",
      ...start("u.2", "gap", { missed: 1, reason: "retention" }),
    });

    expect(data()).toHaveLength(1003);

    deliver("@user", "u.1006", 1006);
    expect(data().at(-1)).toBe(1006);
  });

  test("a resume without a reply restarts at the same position", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    deliver("@user", "u.5", 5);
    const next = await reconnect();
    next.accept({ streams: { "@user": start("u.5") } });

    expect(next.requests("subscribe")[0]?.payload.position).toBe("u.2");

    const third = await reconnect();
    third.accept({ streams: { "@user": start("u.2") } });
    deliver("@user", "u.3", 3);

    expect(data()).toEqual([2, 3]);
  });
});

test("a server without authentication starts before the token is sent", async () => {
  await connect();
  const open = (position: string) => {
    const socket = ScriptedSocket.last;
    const unsolicited = {
      authenticated: true,
      user_id: "anonymous",
      streams: { "@user": start(position) },
    };
    // Sent before the reply to `authenticate`.
    socket.deliver({ type: "auth_result", payload: unsolicited });
    socket.accept({ user_id: "anonymous" });
    return socket;
  };
  open("u.1");
  deliver("@user", "u.2", 2);
  await reconnect();
  const socket = open("u.3");

  expect(socket.requests("subscribe")[0]?.payload).toEqual({ topic: "@user", position: "u.2" });

  socket.reply("subscribe", { topic: "@user", ...start("u.2", "resumed") });
  deliver("@user", "u.3", 3);
  expect(data()).toEqual([2, 3]);

  // The server now requires a token, so the positions in `authenticate` count.
  const next = await reconnect();
  next.accept({
    user_id: "anonymous",
    streams: { "@user": start("u.4", "gap", { missed: 1, reason: "retention" }) },
  });

  expect(next.requests("subscribe")).toEqual([]);
  expect(data()).toEqual([2, 3, "missed 1 retention"]);
});
