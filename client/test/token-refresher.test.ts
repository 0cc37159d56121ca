import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../src/index.js";
import { connectScripted, reconnect, ScriptedSocket } from "./scripted-socket.js";

const token = vi.fn<() => string | null>();
let connection: Connection;
let warnings: { expires_at: number; error: unknown }[];

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  token.mockReset().mockReturnValue("first");
  connection = await connectScripted({ token });
  warnings = [];
  connection.on("token_expiring", (warning) => warnings.push(warning));
  ScriptedSocket.last.accept({ expires_at: 5_000 });
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function announceExpiry(): Promise<void> {
  ScriptedSocket.last.deliver({ type: "token_expiring", payload: { expires_at: 5_000 } });
  await vi.advanceTimersByTimeAsync(0);
}
const sentTokens = () =>
  ScriptedSocket.last.requests("refresh").map(({ payload }) => payload.token);

test("an expiring token is replaced without a reconnect", async () => {
  token.mockReturnValue("second");
  await announceExpiry();
  expect(sentTokens()).toEqual(["second"]);

  ScriptedSocket.last.reply("refresh", { user_id: "ada", expires_at: 90_000 }, "auth_result");
  await vi.advanceTimersByTimeAsync(0);
  expect(connection.state).toMatchObject({
    name: "connected",
    auth: { connection_id: "c-1", expires_at: 90_000 },
  });
  expect(ScriptedSocket.sockets).toHaveLength(1);
  expect(warnings).toEqual([]);
});

test("a missing new token is reported once", async () => {
  await announceExpiry();
  await vi.advanceTimersByTimeAsync(30_000);

  expect(sentTokens()).toEqual([]);
  expect(warnings).toMatchObject([{ expires_at: 5_000, error: { code: "no_newer_token" } }]);
});

test("a failing token provider is reported and retried", async () => {
  token.mockImplementationOnce(() => {
    throw new Error("no network");
  });
  await announceExpiry();

  expect(warnings).toMatchObject([{ error: { message: "no network" } }]);

  token.mockReturnValue("second");
  await vi.advanceTimersByTimeAsync(500);
  expect(sentTokens()).toEqual(["second"]);
});

test("a refused new token is reported", async () => {
  token.mockReturnValue("second");
  await announceExpiry();
  ScriptedSocket.last.refuse("refresh", "authentication_failed");
  await vi.advanceTimersByTimeAsync(30_000);

  expect(warnings).toMatchObject([{ error: { code: "authentication_failed" } }]);
  expect(sentTokens()).toEqual(["second"]);
});

test("a program can refresh the token itself", async () => {
  await announceExpiry();
  token.mockReturnValue("second");
  const refreshed = connection.refresh();
  await vi.advanceTimersByTimeAsync(0);
  ScriptedSocket.last.reply("refresh", { expires_at: 90_000 }, "auth_result");

  expect((await refreshed).expires_at).toBe(90_000);
});

test("an expired token closes the connection until it is reopened", async () => {
  ScriptedSocket.last.drop(4502);
  expect(connection.state).toMatchObject({
    name: "closed",
    code: 4502,
    reason: expect.stringContaining("expired"),
  });

  await vi.advanceTimersByTimeAsync(60_000);
  expect(ScriptedSocket.sockets).toHaveLength(1);

  token.mockReturnValue("second");
  connection.open();
  await vi.advanceTimersByTimeAsync(0);
  ScriptedSocket.last.accept();

  expect(ScriptedSocket.last.requests("authenticate")[0]?.payload.token).toBe("second");
});

test("a refresh of a lost connection is dropped", async () => {
  let provide: (token: string) => void = () => {};
  token.mockImplementationOnce((() => new Promise((resolve) => (provide = resolve))) as never);
  await announceExpiry();
  const socket = await reconnect();
  provide("second");
  await vi.advanceTimersByTimeAsync(0);
  socket.accept();
  await vi.advanceTimersByTimeAsync(30_000);

  expect(sentTokens()).toEqual([]);
  expect(warnings).toEqual([]);
});
