import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Connection } from "../src/index.js";
import { connectScripted, ScriptedSocket } from "./scripted-socket.js";

describe("on a page in a browser", () => {
  let connection: Connection;
  let page: EventTarget;
  const last = () => ScriptedSocket.sockets.at(-1) as ScriptedSocket;

  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.999);
    page = Object.assign(new EventTarget(), { visibilityState: "visible" });
    vi.stubGlobal("window", page);
    vi.stubGlobal("document", page);
    connection = await connectScripted();
  });
  afterEach(() => {
    connection.close();
    vi.unstubAllGlobals();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  const wakes = [
    new Event("online"),
    new Event("visibilitychange"),
    Object.assign(new Event("pageshow"), { persisted: true }),
  ];

  test.each(wakes)("$type reconnects at once", async (event) => {
    last().drop();
    page.dispatchEvent(event);
    await vi.advanceTimersByTimeAsync(0);

    expect(ScriptedSocket.sockets).toHaveLength(2);
  });

  test("a first pageshow does not reconnect", async () => {
    last().drop();
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
    await vi.advanceTimersByTimeAsync(0);

    expect(ScriptedSocket.sockets).toHaveLength(1);
  });

  test("a wake-up respects the delay of a draining server", async () => {
    last().accept();
    const payload = { code: 4000, reason: "", reconnect_after_ms: 5_000, window_ms: 0 };
    last().deliver({ type: "closing", payload });
    last().drop(4000);
    page.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(4_999);

    expect(ScriptedSocket.sockets).toHaveLength(1);

    await vi.advanceTimersByTimeAsync(1);
    expect(ScriptedSocket.sockets).toHaveLength(2);
  });

  test("a socket that died during sleep is detected", async () => {
    last().accept();
    page.dispatchEvent(new Event("visibilitychange"));
    expect(last().sent.at(-1)?.type).toBe("ping");

    await vi.advanceTimersByTimeAsync(4_000);
    expect(connection.state.name).toBe("waiting");
  });
});
