import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../src/index.js";
import { reconnect, scripted, ScriptedSocket } from "./scripted-socket.js";

const token = vi.fn<() => string | null>();
let connection: Connection;
let warnings: { expires_at: number; error: unknown }[];

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  token.mockReset().mockReturnValue("first");
  connection = await scripted({ token });
  warnings = [];
  connection.on("token_expiring", (warning) => warnings.push(warning));
  ScriptedSocket.last.accept({ expires_at: 5_000 });
});
afterEach(() => {
  connection.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function expiring(): Promise<void> {
  ScriptedSocket.last.say({ type: "token_expiring", payload: { expires_at: 5_000 } });
  await vi.advanceTimersByTimeAsync(0);
}
const shown = () => ScriptedSocket.last.asked("refresh").map(({ payload }) => payload.token);

test("a token that ends soon is replaced without a reconnect", async () => {
  token.mockReturnValue("second");
  await expiring();
  expect(shown()).toEqual(["second"]);
  ScriptedSocket.last.answer("refresh", { user_id: "ada", expires_at: 90_000 }, "auth_result");
  await vi.advanceTimersByTimeAsync(0);
  expect(connection.state).toMatchObject({ name: "connected", auth: { connection_id: "c-1", expires_at: 90_000 } });
  expect(ScriptedSocket.sockets).toHaveLength(1);
  expect(warnings).toEqual([]);
});

test("that there is no newer token is told, and not asked again", async () => {
  await expiring();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(shown()).toEqual([]);
  expect(warnings).toMatchObject([{ expires_at: 5_000, error: { code: "no_newer_token" } }]);
});

test("a provider that fails is told of, and asked again", async () => {
  token.mockImplementationOnce(() => {
    throw new Error("no network");
  });
  await expiring();
  expect(warnings).toMatchObject([{ error: { message: "no network" } }]);
  token.mockReturnValue("second");
  await vi.advanceTimersByTimeAsync(500);
  expect(shown()).toEqual(["second"]);
});

test("a new token that is refused is told of", async () => {
  token.mockReturnValue("second");
  await expiring();
  ScriptedSocket.last.refuse("refresh", "authentication_failed");
  await vi.advanceTimersByTimeAsync(30_000);
  expect(warnings).toMatchObject([{ error: { code: "authentication_failed" } }]);
  expect(shown()).toEqual(["second"]);
});

test("the program may refresh when it has a token", async () => {
  await expiring();
  token.mockReturnValue("second");
  const refreshed = connection.refresh();
  await vi.advanceTimersByTimeAsync(0);
  ScriptedSocket.last.answer("refresh", { expires_at: 90_000 }, "auth_result");
  expect((await refreshed).expires_at).toBe(90_000);
});

test("a token that has ended is the end, and a new one the way back", async () => {
  ScriptedSocket.last.drop(4502);
  expect(connection.state).toMatchObject({ name: "closed", code: 4502, reason: expect.stringContaining("expired") });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(ScriptedSocket.sockets).toHaveLength(1);
  token.mockReturnValue("second");
  connection.open();
  await vi.advanceTimersByTimeAsync(0);
  ScriptedSocket.last.accept();
  expect(ScriptedSocket.last.asked("authenticate")[0]?.payload.token).toBe("second");
});

test("what is refreshed for a connection that was lost meanwhile is left to the next", async () => {
  let give: (token: string) => void = () => {};
  token.mockImplementationOnce((() => new Promise((resolve) => (give = resolve))) as never);
  await expiring();
  const socket = await reconnect();
  give("second");
  await vi.advanceTimersByTimeAsync(0);
  socket.accept();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(shown()).toEqual([]);
  expect(warnings).toEqual([]);
});
