import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    globalSetup: "e2e/global-setup.ts",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The tests mostly wait for pages, so more workers than cores pay off.
    maxWorkers: 4,
  },
});
