// What changes is shown without being asked for: the pages and the client on the real server.

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { Connection, type Presence, Topic } from "../../client/src/index";
import { connected, newTerminal, openBrowser, openContext, screenshot, seeLine } from "./browser";
import { Proxy } from "./proxy";
import { type Rejoin, startRejoin } from "./rejoin";

let rejoin: Rejoin;
let proxy: Proxy;

beforeEach(async () => {
  rejoin = await startRejoin();
  proxy = await Proxy.start(rejoin.port);
});
afterEach(async () => {
  await proxy.stop();
  await rejoin.stop();
});

describe("pages", () => {
  let browser: Browser;
  let contexts: BrowserContext[];

  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(() => browser.close());
  beforeEach(() => {
    contexts = [];
  });
  afterEach(async () => {
    for (const context of contexts) await context.close();
  });

  /** A browser of its own: another device. */
  async function logIn(fragment = ""): Promise<Page> {
    const context = await openContext(browser);
    contexts.push(context);
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${proxy.port}/#login=${rejoin.token}`);
    await connected(page);
    if (fragment !== "") await page.evaluate((hash) => location.assign(hash), fragment);
    return page;
  }

  test("the list follows a terminal of another device", async () => {
    const one = await logIn();
    const other = await logIn();
    await other.getByText("There are no terminals yet.").waitFor();
    await newTerminal(one);
    await one.locator(".xterm-screen").waitFor();
    await other.locator(".entry-title").waitFor();
    await other.getByText("1 attached").waitFor();
    await one.locator(".xterm-helper-textarea").focus();
    await one.keyboard.type("PS1='> '; PROMPT_COMMAND=; printf '\\e]2;%s\\a' renamed; echo rea''dy\r");
    await seeLine(one, /^ready/);
    await other.locator(".entry-title").getByText("renamed").waitFor();
    await one.getByRole("button", { name: /^Close renamed/ }).click();
    await one.getByRole("button", { name: "Close terminal" }).click();
    await other.getByText("There are no terminals yet.").waitFor();
  });

  test("a device can disconnect another one", async () => {
    const one = await logIn("#/devices");
    await one.getByRole("listitem").filter({ hasText: "this page" }).waitFor();
    const other = await logIn();
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

  async function connect(device: string, port = rejoin.port): Promise<Connection> {
    const url = `ws://127.0.0.1:${port}/ws`;
    const connection = new Connection({ url, token: () => rejoin.token, device: { id: device }, WebSocket });
    connections.push(connection);
    connection.open();
    await new Promise((resolve) => connection.on("open", resolve));
    return connection;
  }

  test("messages over a broken link arrive once and in order", async () => {
    const reader = new Topic(await connect("reader"), "news");
    const heard: unknown[] = [];
    reader.on("message", ({ data }) => heard.push(data));
    await new Promise((resolve) => reader.on("subscribed", resolve));
    const writer = await connect("writer", proxy.port);
    const published: Promise<string>[] = [];
    for (let number = 1; number <= 100; number++) {
      published.push(writer.publish("news", number));
      if (number % 25 !== 0) continue;
      // As soon as the first of them is answered: the answers to the rest are lost on the way.
      await published[number - 25];
      proxy.cut();
      proxy.mend();
    }
    await Promise.all(published);
    await expect.poll(() => heard.length).toBeGreaterThanOrEqual(100);
    expect(heard).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });

  test("presence follows the devices", async () => {
    const one = await connect("one");
    const seen: Presence[] = [];
    one.followPresence({ user: "ann" }, (presence) => seen.push(presence));
    const devices = () => seen.at(-1)?.members.map(({ device }) => device).sort();
    await expect.poll(devices).toEqual(["one"]);
    await connect("two");
    await expect.poll(devices).toEqual(["one", "two"]);
  });
});
