import { expect, test } from "vitest";
import { preview } from "../src/clipboard";

test.each([
  ["ls -l", "ls -l"],
  ["rm -rf ~\n", "rm -rf ~⏎"],
  ["a\r\nb\tc", "a⏎b·c"],
  ["safe\u202etxt.exe", "safe·txt.exe"],
  ["x".repeat(161), `${"x".repeat(160)}… (161 characters)`],
])("the preview of %j has no control characters", (text, shown) => {
  expect(preview(text)).toBe(shown);
});
