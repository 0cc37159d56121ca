import { expect, vi } from "vitest";
import { test } from "./scripted-connection.js";
import { reconnect, ScriptedSocket } from "./scripted-socket.js";

const published = () => ScriptedSocket.last.requests("publish").map(({ payload }) => payload);
/** Records the outcome of a publish, to be read later. */
function outcomeOf(promise: Promise<string>): { result: () => unknown } {
  let result: unknown = "waiting";
  promise.then(
    (position) => (result = position),
    (error) => (result = error.code),
  );
  return { result: () => result };
}

test("each message has its own key", async ({ connection }) => {
  const one = connection.publish("news", 1);
  ScriptedSocket.last.reply("publish", { position: "t.1" });
  void connection.publish("news", 2, { key: "mine" }).catch(() => {});

  expect(await one).toBe("t.1");
  expect(published()).toEqual([
    { topic: "news", data: 1, key: expect.stringMatching(/^[0-9a-f]{32}$/) },
    { topic: "news", data: 2, key: "mine" },
  ]);
});

test("unacknowledged messages are resent in order with their keys", async ({ connection }) => {
  const messages = [1, 2, 3].map((number) => outcomeOf(connection.publish("news", number)));
  const before = published();
  ScriptedSocket.last.deliver({
    type: "ack",
    reply_to: ScriptedSocket.last.requests("publish")[0]?.id,
    payload: { position: "t.1" },
  });
  const socket = await reconnect();

  expect(published()).toEqual([]);

  socket.accept();
  expect(published()).toEqual(before.slice(1));

  socket.reply("publish", { position: "t.3" });
  await vi.advanceTimersByTimeAsync(0);
  expect(messages.map(({ result }) => result())).toEqual(["t.1", "waiting", "t.3"]);
});

test("a message published while disconnected is sent as published", async ({ connection }) => {
  ScriptedSocket.last.drop();
  const data = { count: 1 };
  const position = connection.publish("news", data);
  data.count = 2;
  await vi.advanceTimersByTimeAsync(500);
  ScriptedSocket.last.accept();

  expect(published()).toMatchObject([{ data: { count: 1 } }]);

  ScriptedSocket.last.reply("publish", { position: "t.1" });
  expect(await position).toBe("t.1");
});

test("a refused message fails with the server's error", async ({ connection }) => {
  const error = connection.publish("news", 1).catch((error) => error);
  ScriptedSocket.last.refuse("publish", "rate_limited", true);
  expect(await error).toMatchObject({ code: "rate_limited", retryable: true });

  const socket = await reconnect();
  socket.accept();
  expect(published()).toEqual([]);
});

test("a message that times out is not resent", async ({ connection }) => {
  ScriptedSocket.last.drop();
  const patient = outcomeOf(connection.publish("news", 1));
  const hasty = outcomeOf(connection.publish("news", 2, { timeoutMs: 300 }));
  await vi.advanceTimersByTimeAsync(300);

  expect([patient.result(), hasty.result()]).toEqual(["waiting", "not_answered"]);

  await vi.advanceTimersByTimeAsync(500);
  ScriptedSocket.last.accept();
  expect(published()).toMatchObject([{ data: 1 }]);

  await vi.advanceTimersByTimeAsync(60_000);
  expect(patient.result()).toBe("not_answered");
});

test("no message outlives its key on the server", async ({ connection }) => {
  const pending = outcomeOf(connection.publish("news", 1, { timeoutMs: 3_600_000 }));
  await vi.advanceTimersByTimeAsync(240_000);
  expect(pending.result()).toBe("not_answered");
});

test("a full queue rejects until a message is acknowledged", async ({ connection }) => {
  ScriptedSocket.last.drop();
  const waiting = Array.from({ length: 256 }, (_, number) =>
    outcomeOf(connection.publish("news", number)),
  );

  await expect(connection.publish("news", 256)).rejects.toMatchObject({
    code: "queue_full",
    retryable: true,
  });

  await vi.advanceTimersByTimeAsync(500);
  ScriptedSocket.last.accept();
  ScriptedSocket.last.reply("publish", { position: "t.1" });
  await vi.advanceTimersByTimeAsync(0);

  expect(waiting.at(-1)?.result()).toBe("t.1");

  const accepted = outcomeOf(connection.publish("news", 257));
  expect(published()).toHaveLength(257);
  expect(accepted.result()).toBe("waiting");
});

test("a closed connection fails its pending messages", async ({ connection }) => {
  const waiting = outcomeOf(connection.publish("news", 1));
  ScriptedSocket.last.drop(4504);
  await vi.advanceTimersByTimeAsync(0);

  expect(waiting.result()).toBe("connection_lost");
  await expect(connection.publish("news", 2)).rejects.toMatchObject({ code: "not_connected" });
});
