// Listeners that close or reopen the connection whose event they receive.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";

let connection: Connection;

beforeEach(async () => {
  vi.useFakeTimers();
  connection = await connectScripted();
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
});

test("close in a lost listener closes", async () => {
  const names: string[] = [];
  ScriptedSocket.last.accept();
  connection.on("lost", () => connection.close());
  connection.on("state", ({ name }) => names.push(name));
  ScriptedSocket.last.drop();
  await vi.advanceTimersByTimeAsync(60_000);

  expect([connection.state.name, names]).toEqual(["closed", ["closed"]]);
  expect(ScriptedSocket.sockets).toHaveLength(1);
});

test("reopening in a lost listener opens one socket", async () => {
  ScriptedSocket.last.accept();
  connection.on("lost", () => {
    connection.close();
    connection.open();
  });
  ScriptedSocket.last.drop(4503);
  await vi.advanceTimersByTimeAsync(0);

  expect([connection.state.name, ScriptedSocket.sockets.length]).toEqual(["connecting", 2]);
});

test.each(["connecting", "connected"])("close on the state %s closes", async (name) => {
  const opened = vi.fn();
  connection.on("open", opened);
  connection.on("state", (state) => state.name === name && connection.close());
  ScriptedSocket.last.drop();
  await vi.advanceTimersByTimeAsync(60_000);
  if (name === "connected") ScriptedSocket.last.accept();
  await vi.advanceTimersByTimeAsync(60_000);

  expect([connection.state.name, opened.mock.calls]).toEqual(["closed", []]);
});
