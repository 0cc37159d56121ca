import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Connection, Topic, type TopicEvents } from "../src/index.js";
import { connect, next } from "./test-client.js";
import { TestServer } from "./test-server.js";

let server: TestServer;
let connection: Connection;

beforeEach(async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  server = await TestServer.start();
  connection = connect(server);
});
afterEach(async () => {
  connection.close();
  await server.stop();
  vi.restoreAllMocks();
});

const subscribed = (topic: Topic) => next<TopicEvents, "subscribed">(topic, "subscribed");

function collect(topic: Topic): { data: unknown[]; has: (count: number) => Promise<void> } {
  const data: unknown[] = [];
  topic.on("message", (message) => data.push(message.data));
  const has = async (count: number) => {
    while (data.length < count) await next<TopicEvents, "message">(topic, "message");
  };
  return { data, has };
}

test("a published message arrives", async () => {
  const topic = new Topic(connection, "news");
  const { data, has } = collect(topic);
  expect((await subscribed(topic)).verdict).toBe("fresh");
  expect(await topic.publish({ hello: 1 })).toBe("t.1");

  await has(1);
  expect(data).toEqual([{ hello: 1 }]);
  expect(topic.position).toBe("t.1");
});

test("messages published while disconnected arrive after a reconnect", async () => {
  const topic = new Topic(connection, "news");
  const { data, has } = collect(topic);
  await subscribed(topic);
  await topic.publish(1);
  await has(1);
  server.cut();
  server.publish("news", 2);
  server.publish("news", 3);

  expect((await subscribed(topic)).verdict).toBe("resumed");

  await has(3);
  expect(data).toEqual([1, 2, 3]);
});

test("a stored position resumes the topic", async () => {
  server.publish("news", 1);
  server.publish("news", 2);
  const topic = new Topic(connection, "news", "t.1");
  const { data, has } = collect(topic);
  await has(1);

  expect(data).toEqual([2]);
});

test.each([
  ["dropped", "t.1", { missed: 2, reason: "retention" }],
  ["lost with an earlier server", "old.7", { missed: null, reason: "epoch" }],
])("messages that were %s are reported as a gap first", async (_, position, gap) => {
  for (const data of [1, 2, 3, 4, 5]) server.publish("news", data);
  server.topic("news").drop(3);
  const topic = new Topic(connection, "news", position);
  const events: unknown[] = [];
  topic.on("subscribed", ({ verdict }) => events.push(verdict));
  topic.on("gap", (gap) => events.push(gap));
  const { data, has } = collect(topic);
  topic.on("message", () => events.push("message"));
  await has(2);

  expect(events).toEqual(["gap", { topic: "news", ...gap, position: "t.3" }, "message", "message"]);
  expect(data).toEqual([4, 5]);
  expect(topic.position).toBe("t.5");
});

test("a gap is reported and moves the position", async () => {
  const topic = new Topic(connection, "news");
  await subscribed(topic);
  const gap = next<TopicEvents, "gap">(topic, "gap");
  server.send({
    type: "gap",
    payload: { topic: "news", missed: 7, reason: "retention", position: "t.8" },
  });

  expect((await gap).missed).toBe(7);
  expect(topic.position).toBe("t.8");
});

test("an unsubscribed topic emits nothing", async () => {
  const topic = new Topic(connection, "news");
  const { data } = collect(topic);
  await subscribed(topic);
  topic.unsubscribe();
  await server.next("unsubscribe");
  server.publish("news", 1);
  await connection.request("ping", {});

  expect(data).toEqual([]);
});
