import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    globalSetup: "e2e/global-setup.ts",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Parallel pages are slow at times; the default of one second is too short.
    expect: { poll: { timeout: 15_000 } },
    // The files share no state, so the workers need not load Playwright again for each of them.
    isolate: false,
    // The tests mostly wait for pages, so more workers than cores pay off.
    maxWorkers: 4,
  },
});
