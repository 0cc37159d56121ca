// Live changes across devices, on the real server.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { Connection, type Presence, Topic } from "../../client/src/index";
import { connected, newTerminal, screenshot, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";

const fixture = useRejoin();

describe("pages", () => {
  test("the list follows a terminal of another device", async () => {
    const one = await fixture.logIn();
    const other = await fixture.logIn();
    await other.getByText("You have no terminals yet.").waitFor();
    await newTerminal(one);
    await one.locator(".xterm-screen").waitFor();
    await other.locator(".entry-title").waitFor();
    await other.getByText("1 attached").waitFor();
    await one.locator(".xterm-helper-textarea").focus();
    await one.keyboard.type(
      "PS1='> '; PROMPT_COMMAND=; printf '\\e]2;%s\\a' renamed; echo rea''dy\r",
    );
    await seeLine(one, /^ready/);
    await other.locator(".entry-title").getByText("renamed").waitFor();
    await one.getByRole("button", { name: /^Close renamed/ }).click();
    await one.getByRole("button", { name: "Close terminal" }).click();
    await other.getByText("You have no terminals yet.").waitFor();
  });

  test("a device can disconnect another one", async () => {
    const one = await fixture.logIn("#/devices");
    await one.getByRole("listitem").filter({ hasText: "this page" }).waitFor();
    const other = await fixture.logIn();

    await expect.poll(() => one.locator(".device").count()).toBe(2);

    await screenshot(one, "real-devices-dark");
    await one.getByRole("button", { name: "Disconnect device" }).nth(1).click();
    await other.getByText("Disconnected", { exact: true }).waitFor();
    await other.getByRole("button", { name: "Connect", exact: true }).click();
    await connected(other);
  });
});

describe("client", () => {
  let connections: Connection[];

  beforeEach(() => {
    connections = [];
  });
  afterEach(() => {
    for (const connection of connections) connection.close();
  });

  async function connect(device: string, port = fixture.server.port): Promise<Connection> {
    const url = `ws://127.0.0.1:${port}/ws`;
    const connection = new Connection({
      url,
      token: () => fixture.token,
      device: { id: device },
      WebSocket,
    });
    connections.push(connection);
    connection.open();
    await new Promise((resolve) => connection.on("open", resolve));
    return connection;
  }

  test("messages over a broken link arrive once and in order", async () => {
    // Topics are shared by all users of the server.
    const topic = `news-${fixture.user}`;
    const reader = new Topic(await connect("reader"), topic);
    const received: unknown[] = [];
    reader.on("message", ({ data }) => received.push(data));
    await new Promise((resolve) => reader.on("subscribed", resolve));
    const writer = await connect("writer", fixture.proxy.port);
    const published: Promise<string>[] = [];
    for (let number = 1; number <= 100; number++) {
      published.push(writer.publish(topic, number));
      if (number % 25 !== 0) continue;

      // Cut after the first acknowledgement: those of the rest are lost.
      await published[number - 25];
      fixture.proxy.cut();
      fixture.proxy.mend();
    }

    await Promise.all(published);
    await expect.poll(() => received.length).toBeGreaterThanOrEqual(100);
    expect(received).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });

  test("presence follows the devices", async () => {
    const one = await connect("one");
    const states: Presence[] = [];
    one.followPresence({ user: fixture.user }, (presence) => states.push(presence));
    const devices = () =>
      states
        .at(-1)
        ?.members.map(({ device }) => device)
        .sort();

    await expect.poll(devices).toEqual(["one"]);

    await connect("two");
    await expect.poll(devices).toEqual(["one", "two"]);
  });
});
