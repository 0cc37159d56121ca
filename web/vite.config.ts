import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const server = { target: "http://127.0.0.1:7400", ws: true };

export default defineConfig({
  // The pages may be served under any path.
  base: "./",
  resolve: {
    // Built from the source, so that one build is enough.
    alias: { rejoin: fileURLToPath(new URL("../client/src/index.ts", import.meta.url)) },
  },
  build: { target: "es2022", assetsInlineLimit: 0, reportCompressedSize: true },
  server: { proxy: { "/ws": server, "/api": server } },
  test: { include: ["test/**/*.test.ts"] },
});
