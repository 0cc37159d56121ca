// The search in a terminal and its history, on the real server.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { lines, seeLine } from "./browser";
import { useRejoin } from "./rejoin-fixture";
import { openAgain, openShell, type } from "./shell";

const fixture = useRejoin();

/** Returns the selected text and the first visible line. */
function selected(page: Page): Promise<{ text: string | undefined; row: string | undefined }> {
  return page.evaluate(() => {
    const { terminal } = globalThis.rejoin;
    const place = terminal?.getSelectionPosition()?.start;
    const buffer = terminal?.buffer.active;
    const isVisible =
      place !== undefined &&
      buffer !== undefined &&
      place.y >= buffer.viewportY &&
      place.y < buffer.viewportY + (terminal?.rows ?? 0);
    const row = isVisible ? buffer?.getLine(place.y)?.translateToString(true) : undefined;
    return { text: terminal?.getSelection(), row };
  });
}

test("a search loads older lines until it finds a match", async () => {
  const one = await openShell(fixture);
  await type(one, "seq -f 'line %.0f' 1 3000 | sed 's/^line 7$/日本 Need''le/'; echo do''ne\r");
  await seeLine(one, /^done/);
  const other = await openAgain(one);
  await seeLine(other, /^done/);
  expect(await lines(other)).not.toContain("日本 Needle");

  await other.locator(".xterm-helper-textarea").focus();
  await other.keyboard.press("Control+Shift+F");
  const box = other.locator(".search-box");
  await box.getByRole("searchbox").fill("needle");
  await box.getByRole("searchbox").press("Enter");
  await expect.poll(() => selected(other)).toEqual({ text: "Needle", row: "日本 Needle" });

  await box.getByRole("searchbox").fill("line 6");
  await box.getByRole("searchbox").press("Enter");
  await expect.poll(() => selected(other)).toEqual({ text: "line 6", row: "line 6" });
  await box.getByRole("button", { name: "Newer" }).click();
  await expect.poll(() => selected(other)).toEqual({ text: "line 6", row: "line 60" });

  await box.getByRole("searchbox").fill("no such line");
  await box.getByRole("searchbox").press("Enter");
  await box.getByText("No further match").waitFor();

  await box.getByRole("searchbox").press("Escape");
  await box.waitFor({ state: "detached" });
  await expect.poll(async () => (await selected(other)).text).toBe("");
});
