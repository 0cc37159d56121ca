import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection, Presence, PresenceMember } from "../src/index.js";
import { reconnect, scripted, ScriptedSocket } from "./scripted-socket.js";

let connection: Connection;
const PHONE: PresenceMember = { user: "ada", device: "phone" };
const LAPTOP: PresenceMember = { user: "ada", device: "laptop", device_name: "Laptop" };

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  connection = await scripted();
  ScriptedSocket.last.accept();
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const asked = () => ScriptedSocket.last.asked("presence").map(({ payload }) => payload);
function answer(members: PresenceMember[] | undefined, counts = { users: 1, connections: members?.length ?? 0 }): void {
  ScriptedSocket.last.answer("presence", { user: "ada", ...counts, ...(members && { members }) }, "presence");
}
function change(what: object, connections: number): void {
  const payload = { user: "ada", ...what, whole_user: false, users: 1, connections };
  ScriptedSocket.last.say({ type: "presence", payload });
}

test("who is there can be asked once", async () => {
  const presence = connection.presence({ topic: "news" });
  expect(asked()).toEqual([{ topic: "news" }]);
  ScriptedSocket.last.answer("presence", { topic: "news", users: 2, connections: 3, members: [PHONE] }, "presence");
  expect(await presence).toMatchObject({ users: 2, connections: 3, members: [PHONE] });
});

test("comings and goings are folded into the list", () => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  expect(asked()).toEqual([{ user: "ada", follow: true }]);
  answer([PHONE]);
  change({ joined: LAPTOP }, 2);
  change({ joined: { ...LAPTOP, device_name: "Work" } }, 2);
  change({ left: PHONE }, 1);
  expect(seen.map(({ members }) => members.map(({ device }) => device))).toEqual([
    ["phone"],
    ["phone", "laptop"],
    ["phone", "laptop"],
    ["laptop"],
  ]);
  expect(seen.at(-1)).toEqual({ users: 1, connections: 1, members: [{ ...LAPTOP, device_name: "Work" }], truncated: false });
});

test("a follower that fell behind gets the state instead of the changes", () => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  answer([PHONE]);
  ScriptedSocket.last.say({ type: "presence", payload: { user: "ada", users: 1, connections: 1, members: [LAPTOP] } });
  expect(seen.at(-1)?.members).toEqual([LAPTOP]);
});

test("where there are too many, they are counted", () => {
  const seen = vi.fn();
  connection.followPresence({ topic: "news" }, seen);
  ScriptedSocket.last.answer("presence", { topic: "news", users: 20_000, connections: 30_000, truncated: true }, "presence");
  expect(seen).toHaveBeenCalledWith({ users: 20_000, connections: 30_000, members: [], truncated: true });
});

test("it is followed again after a reconnect, and who left meanwhile is gone", async () => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  answer([PHONE, LAPTOP]);
  const socket = await reconnect();
  socket.accept();
  expect(asked()).toEqual([{ user: "ada", follow: true }]);
  answer([LAPTOP]);
  expect(seen.at(-1)?.members).toEqual([LAPTOP]);
});

test("two followers of one subject cost one question, and the last one ends it", async () => {
  const one = vi.fn();
  const other = vi.fn();
  const stopOne = connection.followPresence({ user: "ada" }, one);
  answer([PHONE]);
  const stopOther = connection.followPresence({ user: "ada" }, other);
  await vi.advanceTimersByTimeAsync(0);
  expect(other).toHaveBeenCalledWith(expect.objectContaining({ members: [PHONE] }));
  stopOne();
  change({ joined: LAPTOP }, 2);
  expect([one.mock.calls.length, other.mock.calls.length]).toEqual([1, 2]);
  expect(asked()).toHaveLength(1);
  stopOther();
  stopOther();
  expect(asked().slice(1)).toEqual([{ user: "ada", follow: false }]);
  change({ left: LAPTOP }, 1);
  expect(other).toHaveBeenCalledTimes(2);
});

test("other subjects are somebody else's", () => {
  const seen = vi.fn();
  connection.followPresence({ session: "ada" }, seen);
  connection.followPresence({ topic: "ada" }, seen);
  change({ joined: PHONE }, 1);
  change({ user: undefined, session: "bob", joined: PHONE }, 1);
  expect(seen).not.toHaveBeenCalled();
  change({ user: undefined, session: "ada", joined: PHONE }, 1);
  expect(seen).toHaveBeenCalledTimes(1);
});

test("a refusal is told, and a passing one is asked about again", async () => {
  const failed = vi.fn();
  const stop = connection.followPresence({ user: "bob" }, () => {}, failed);
  ScriptedSocket.last.refuse("presence", "rate_limited", true);
  expect(failed).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(500);
  expect(asked()).toHaveLength(2);
  ScriptedSocket.last.refuse("presence", "forbidden");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(failed).toHaveBeenCalledWith(expect.objectContaining({ code: "forbidden" }));
  expect(asked()).toHaveLength(2);
  stop();
});
