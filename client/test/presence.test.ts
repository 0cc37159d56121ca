import { expect, vi } from "vitest";
import type { Presence, PresenceMember } from "../src/index.js";
import { test } from "./scripted-connection.js";
import { reconnect, ScriptedSocket } from "./scripted-socket.js";

const PHONE: PresenceMember = { user: "ada", device: "phone" };
const LAPTOP: PresenceMember = { user: "ada", device: "laptop", device_name: "Laptop" };

const requests = () => ScriptedSocket.last.requests("presence").map(({ payload }) => payload);
function reply(
  members: PresenceMember[] | undefined,
  counts = { users: 1, connections: members?.length ?? 0 },
): void {
  ScriptedSocket.last.reply(
    "presence",
    { user: "ada", ...counts, ...(members && { members }) },
    "presence",
  );
}
function change(fields: object, connections: number): void {
  const payload = { user: "ada", ...fields, whole_user: false, users: 1, connections };
  ScriptedSocket.last.deliver({ type: "presence", payload });
}

test("presence can be requested once", async ({ connection }) => {
  const presence = connection.presence({ topic: "news" });
  expect(requests()).toEqual([{ topic: "news" }]);

  ScriptedSocket.last.reply(
    "presence",
    { topic: "news", users: 2, connections: 3, members: [PHONE] },
    "presence",
  );

  expect(await presence).toMatchObject({ users: 2, connections: 3, members: [PHONE] });
});

test("changes update the members", ({ connection }) => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  expect(requests()).toEqual([{ user: "ada", follow: true }]);

  reply([PHONE]);
  change({ joined: LAPTOP }, 2);
  change({ joined: { ...LAPTOP, device_name: "Work" } }, 2);
  change({ left: PHONE }, 1);

  expect(seen.map(({ members }) => members.map(({ device }) => device))).toEqual([
    ["phone"],
    ["phone", "laptop"],
    ["phone", "laptop"],
    ["laptop"],
  ]);
  expect(seen.at(-1)).toEqual({
    users: 1,
    connections: 1,
    members: [{ ...LAPTOP, device_name: "Work" }],
    truncated: false,
  });
});

test("a new state replaces the members", ({ connection }) => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  reply([PHONE]);
  ScriptedSocket.last.deliver({
    type: "presence",
    payload: { user: "ada", users: 1, connections: 1, members: [LAPTOP] },
  });

  expect(seen.at(-1)?.members).toEqual([LAPTOP]);
});

test("large groups have counts only", ({ connection }) => {
  const seen = vi.fn();
  connection.followPresence({ topic: "news" }, seen);
  ScriptedSocket.last.reply(
    "presence",
    { topic: "news", users: 20_000, connections: 30_000, truncated: true },
    "presence",
  );

  expect(seen).toHaveBeenCalledWith({
    users: 20_000,
    connections: 30_000,
    members: [],
    truncated: true,
  });
});

test("a reconnect follows again and replaces the members", async ({ connection }) => {
  const seen: Presence[] = [];
  connection.followPresence({ user: "ada" }, (presence) => seen.push(presence));
  reply([PHONE, LAPTOP]);
  const socket = await reconnect();
  socket.accept();

  expect(requests()).toEqual([{ user: "ada", follow: true }]);

  reply([LAPTOP]);
  expect(seen.at(-1)?.members).toEqual([LAPTOP]);
});

test("followers of one subject share a subscription", async ({ connection }) => {
  const one = vi.fn();
  const other = vi.fn();
  const stopOne = connection.followPresence({ user: "ada" }, one);
  reply([PHONE]);
  const stopOther = connection.followPresence({ user: "ada" }, other);
  await vi.advanceTimersByTimeAsync(0);

  expect(other).toHaveBeenCalledWith(expect.objectContaining({ members: [PHONE] }));

  stopOne();
  change({ joined: LAPTOP }, 2);
  expect([one.mock.calls.length, other.mock.calls.length]).toEqual([1, 2]);
  expect(requests()).toHaveLength(1);

  stopOther();
  stopOther();
  expect(requests().slice(1)).toEqual([{ user: "ada", follow: false }]);

  change({ left: LAPTOP }, 1);
  expect(other).toHaveBeenCalledTimes(2);
});

test("changes of other subjects are ignored", ({ connection }) => {
  const seen = vi.fn();
  connection.followPresence({ session: "ada" }, seen);
  connection.followPresence({ topic: "ada" }, seen);
  change({ joined: PHONE }, 1);
  change({ user: undefined, session: "bob", joined: PHONE }, 1);

  expect(seen).not.toHaveBeenCalled();

  change({ user: undefined, session: "ada", joined: PHONE }, 1);
  expect(seen).toHaveBeenCalledTimes(1);
});

test("a temporary error is retried and a refusal is reported", async ({ connection }) => {
  const failed = vi.fn();
  const stop = connection.followPresence({ user: "bob" }, () => {}, failed);
  ScriptedSocket.last.refuse("presence", "rate_limited", true);

  expect(failed).not.toHaveBeenCalled();

  await vi.advanceTimersByTimeAsync(500);
  expect(requests()).toHaveLength(2);

  ScriptedSocket.last.refuse("presence", "forbidden");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(failed).toHaveBeenCalledWith(expect.objectContaining({ code: "forbidden" }));
  expect(requests()).toHaveLength(2);

  stop();
});
