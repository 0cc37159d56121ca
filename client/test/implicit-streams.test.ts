import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Connection, Emitted, Missed } from "../src/index.js";
import { reconnect, scripted, ScriptedSocket } from "./scripted-socket.js";

let connection: Connection;
let heard: (Emitted | Missed)[];
const data = () => heard.map((item) => ("missed" in item ? `missed ${item.missed} ${item.reason}` : item.data));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function begin(options?: Parameters<typeof scripted>[0]): Promise<void> {
  connection = await scripted(options);
  heard = [];
  connection.on("emitted", (emitted) => heard.push(emitted));
  connection.on("missed", (missed) => heard.push(missed));
}

function start(position: string, verdict = "fresh", more: object = {}): object {
  return { verdict, replayed: 0, position, ...more };
}

function say(topic: string, position: string | undefined, data: unknown): void {
  ScriptedSocket.last.say({ type: "message", payload: { topic, position, event: "mail.new", data, time: 7 } });
}

describe("with a token", () => {
  beforeEach(async () => {
    await begin({ token: () => "good", device: { id: "phone" } });
    ScriptedSocket.last.accept({ streams: { "@all": start("a.1"), "@user": start("u.1"), "@device": start("d.1") } });
  });

  test("what is said to the connection, its device, its user and everyone is told apart", () => {
    say("@connection", undefined, 1);
    say("@device", "d.2", 2);
    say("@user", "u.2", 3);
    say("@all", "a.2", 4);
    say("news", "n.2", 5);
    expect(heard).toEqual([
      { to: "connection", event: "mail.new", data: 1, time: 7 },
      { to: "device", event: "mail.new", data: 2, time: 7 },
      { to: "user", event: "mail.new", data: 3, time: 7 },
      { to: "all", event: "mail.new", data: 4, time: 7 },
    ]);
  });

  test("the first connection gives no positions, a later one those of the last messages", async () => {
    expect(ScriptedSocket.last.asked("authenticate")[0]?.payload.positions).toBeUndefined();
    say("@user", "u.2", "before");
    const socket = await reconnect();
    socket.accept({ streams: { "@all": start("a.1", "resumed"), "@user": start("u.2", "resumed") } });
    expect(socket.asked("authenticate")[0]?.payload.positions).toEqual({ "@all": "a.1", "@user": "u.2", "@device": "d.1" });
    say("@user", "u.3", "meanwhile");
    expect(data()).toEqual(["before", "meanwhile"]);
    expect(socket.asked("subscribe")).toEqual([]);
  });

  test("a resume that is cut short goes on where it was cut", async () => {
    const first = await reconnect();
    first.accept({ streams: { "@user": start("u.1", "resumed", { replayed: 2 }) } });
    say("@user", "u.2", 2);
    const second = await reconnect();
    second.accept({ streams: { "@user": start("u.2", "resumed", { replayed: 1 }) } });
    say("@user", "u.3", 3);
    expect(second.asked("authenticate")[0]?.payload.positions["@user"]).toBe("u.2");
    expect(data()).toEqual([2, 3]);
  });

  test("that messages are gone is told before those that are left", async () => {
    const socket = await reconnect();
    const gap = { missed: 4, reason: "retention" };
    socket.accept({ streams: { "@user": start("u.5", "gap", gap), "@device": start("d.1", "resumed") } });
    say("@user", "u.6", "left");
    expect(heard[0]).toEqual({ to: "user", ...gap });
    expect(data()).toEqual(["missed 4 retention", "left"]);
    await reconnect();
    ScriptedSocket.last.accept();
    expect(ScriptedSocket.last.asked("authenticate")[0]?.payload.positions["@user"]).toBe("u.6");
  });

  test("a gap of a slow reader is told, and moves the position", async () => {
    const payload = { topic: "@user", missed: 3, reason: "retention", position: "u.4" };
    ScriptedSocket.last.say({ type: "gap", payload });
    expect(data()).toEqual(["missed 3 retention"]);
    const socket = await reconnect();
    socket.accept();
    expect(socket.asked("authenticate")[0]?.payload.positions["@user"]).toBe("u.4");
  });

  test("another user missed nothing of this one's", async () => {
    const socket = await reconnect();
    socket.accept({ user_id: "bob", streams: { "@user": start("x.9", "gap", { reason: "epoch" }) } });
    expect(heard).toEqual([]);
    const next = await reconnect();
    next.accept({ user_id: "bob" });
    expect(next.asked("authenticate")[0]?.payload.positions).toEqual({ "@user": "x.9" });
  });
});

describe("with a cookie", () => {
  beforeEach(async () => {
    await begin({ device: { id: "tab-1", name: "Ada's tab" } });
    ScriptedSocket.last.accept({ streams: { "@user": start("u.1") } });
    say("@user", "u.2", 2);
  });

  test("the server says who it is, and the address names the device", () => {
    expect(connection.state).toMatchObject({ name: "connected", auth: { user_id: "ada" } });
    expect(ScriptedSocket.last.sent).toEqual([]);
    expect(ScriptedSocket.last.url).toBe("ws://server/ws?device_id=tab-1&device_name=Ada%27s+tab");
  });

  test("what was missed is asked for, and what comes before the answer is not told twice", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    expect(socket.asked("subscribe").map(({ payload }) => payload)).toEqual([{ topic: "@user", position: "u.2" }]);
    say("@user", "u.5", 5);
    socket.answer("subscribe", { topic: "@user", ...start("u.2", "resumed", { replayed: 3 }) });
    for (const number of [3, 4, 5, 6]) say("@user", `u.${number}`, number);
    expect(data()).toEqual([2, 3, 4, 5, 6]);
  });

  test("a message that comes again is dropped", () => {
    say("@user", "u.3", 3);
    say("@user", "u.2", 2);
    say("@user", "u.3", 3);
    expect(data()).toEqual([2, 3]);
  });

  test("nothing is asked where nothing was missed", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.2") } });
    say("@user", "u.3", 3);
    expect(socket.sent).toEqual([]);
    expect(data()).toEqual([2, 3]);
  });

  test("what is gone is told", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.9") } });
    const gap = { missed: 5, reason: "retention" };
    socket.answer("subscribe", { topic: "@user", ...start("u.7", "gap", gap) });
    say("@user", "u.8", 8);
    expect(data()).toEqual([2, "missed 5 retention", 8]);
  });

  test("a server that refuses to resume makes a gap, and what came since is kept", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    say("@user", "u.5", 5);
    socket.refuse("subscribe", "unknown_topic");
    say("@user", "u.6", 6);
    expect(data()).toEqual([2, "missed null unknown_topic", 5, 6]);
  });

  test("what is held for an answer is bounded, and the answer comes too late then", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    for (let number = 5; number <= 1005; number++) say("@user", `u.${number}`, number);
    expect(data().slice(0, 3)).toEqual([2, "missed null too_many", 5]);
    socket.answer("subscribe", { topic: "@user", ...start("u.2", "gap", { missed: 1, reason: "retention" }) });
    expect(data()).toHaveLength(1003);
    say("@user", "u.1006", 1006);
    expect(data().at(-1)).toBe(1006);
  });

  test("a connection that is lost before the answer asks again from the same place", async () => {
    const socket = await reconnect();
    socket.accept({ streams: { "@user": start("u.4") } });
    say("@user", "u.5", 5);
    const next = await reconnect();
    next.accept({ streams: { "@user": start("u.5") } });
    expect(next.asked("subscribe")[0]?.payload.position).toBe("u.2");
    const third = await reconnect();
    third.accept({ streams: { "@user": start("u.2") } });
    say("@user", "u.3", 3);
    expect(data()).toEqual([2, 3]);
  });
});

test("a server that needs no token begins before it is shown one", async () => {
  await begin();
  const open = (position: string) => {
    const socket = ScriptedSocket.last;
    const unasked = { authenticated: true, user_id: "anonymous", streams: { "@user": start(position) } };
    // The answer to `authenticate` comes later.
    socket.say({ type: "auth_result", payload: unasked });
    socket.accept({ user_id: "anonymous" });
    return socket;
  };
  open("u.1");
  say("@user", "u.2", 2);
  await reconnect();
  const socket = open("u.3");
  expect(socket.asked("subscribe")[0]?.payload).toEqual({ topic: "@user", position: "u.2" });
  socket.answer("subscribe", { topic: "@user", ...start("u.2", "resumed") });
  say("@user", "u.3", 3);
  expect(data()).toEqual([2, 3]);
  // It is configured anew: what it said before is of no account.
  const next = await reconnect();
  next.accept({ user_id: "anonymous", streams: { "@user": start("u.4", "gap", { missed: 1, reason: "retention" }) } });
  expect(next.asked("subscribe")).toEqual([]);
  expect(data()).toEqual([2, 3, "missed 1 retention"]);
});
