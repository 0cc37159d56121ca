// The list of devices and its changes.

import { expect, test } from "vitest";
import type { ConnectionInfo } from "../src/devices";
import { connected, PHONE, screenshot } from "./browser";
import { usePages } from "./pages-fixture";

const fixture = usePages();

const CHROME_ON_ANDROID =
  "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36";
const SAFARI =
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15";

function connectionInfo(fields: Partial<ConnectionInfo>): ConnectionInfo {
  const now = Date.now();
  return {
    id: "c-other",
    user: "ada",
    device: "phone-1",
    device_name: "Pixel",
    role_context: null,
    address: "192.0.2.17",
    user_agent: CHROME_ON_ANDROID,
    connected_at: now - 3 * 3_600_000,
    last_heard_at: now - 20_000,
    ...fields,
  };
}

function addDevices(): void {
  const twoDaysAgo = Date.now() - 2 * 86_400_000;
  fixture.pages.otherConnections = [
    connectionInfo({}),
    connectionInfo({
      id: "c-phone-2",
      role_context: "night shift",
      connected_at: Date.now() - 240_000,
    }),
    connectionInfo({
      id: "c-mac",
      device: "mac-1",
      device_name: "Ada's laptop",
      user_agent: SAFARI,
      address: "2001:db8::1f:7",
    }),
    connectionInfo({
      id: "c-script",
      device: null,
      device_name: null,
      user_agent: "python-websockets/15.0",
      connected_at: twoDaysAgo,
    }),
  ];
}

test("devices are listed, this browser first", async () => {
  addDevices();
  const page = await fixture.logIn("#/devices");
  await page.getByRole("heading", { name: "Pixel" }).waitFor();

  expect(await page.title()).toBe("Devices");

  const names = await page.locator(".device h2").allTextContents();
  expect(names.slice(1)).toEqual(["Pixel", "Ada's laptop", "Unknown device"]);
  expect(names[0]).toMatch(/^Chrome on/);

  const phone = page.getByRole("region", { name: "Pixel" });
  await phone.getByText("Chrome 141 on Android").first().waitFor();
  await phone.getByText("192.0.2.17 · night shift").waitFor();
  await phone.getByText("connected 3 h ago").waitFor();
  await page
    .getByRole("region", { name: "Ada's laptop" })
    .getByText("Safari 26 on macOS")
    .waitFor();
  await page.getByText("python-websockets/15.0").waitFor();
  await page.getByText("· this page").waitFor();
  await screenshot(page, "devices-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await screenshot(page, "devices-light");
});

test("a connection and a device can be disconnected", async () => {
  addDevices();
  const page = await fixture.logIn("#/devices");
  const phone = page.getByRole("region", { name: "Pixel" });
  await phone.getByRole("listitem").nth(1).waitFor();
  await phone.getByRole("button", { name: "c-phone-2" }).click();

  await expect.poll(() => phone.getByRole("listitem").count()).toBe(1);

  await phone.getByRole("button", { name: "Disconnect device" }).click();
  await phone.waitFor({ state: "detached" });
  expect(fixture.pages.changes).toEqual([
    "DELETE connections/c-phone-2",
    'POST users/ada/disconnect {"device":"phone-1"}',
  ]);
});

test("a page that disconnects itself can reconnect", async () => {
  const page = await fixture.logIn("#/devices");
  await page.getByRole("listitem").filter({ hasText: "this page" }).getByRole("button").click();
  await page.getByText("Disconnected", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await connected(page);
});

test("the list follows devices", async () => {
  const page = await fixture.logIn("#/devices");
  await page.getByRole("region").waitFor();
  const tab = await fixture.logIn();

  await expect.poll(() => page.locator(".device li").count()).toBe(2);

  await tab.close();
  await expect.poll(() => page.locator(".device li").count()).toBe(1);
});

test("the device list fits a phone", async () => {
  await fixture.reopenContext(PHONE);
  addDevices();
  const page = await fixture.logIn();
  await page.getByRole("link", { name: "Devices" }).tap();
  await page.getByRole("region", { name: "Pixel" }).waitFor();
  await page.waitForFunction(
    () => (document.querySelector(".sidebar")?.getBoundingClientRect().right ?? 1) <= 0,
  );
  await screenshot(page, "devices-phone-dark");

  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});
