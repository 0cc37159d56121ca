import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vitest/config";

const server = { target: "http://127.0.0.1:7400", ws: true };

/** Writes each asset compressed beside it, as the server looks for it. */
function compressAssets(): Plugin {
  return {
    name: "compress-assets",
    apply: "build",
    writeBundle({ dir = "" }, bundle) {
      for (const name of Object.keys(bundle).filter((name) =>
        /^assets\/.*\.(js|css|svg)$/.test(name),
      )) {
        const content = readFileSync(join(dir, name));
        const forms = { br: brotliCompressSync(content), gz: gzipSync(content, { level: 9 }) };
        for (const [ending, form] of Object.entries(forms)) {
          if (form.length < content.length) writeFileSync(join(dir, `${name}.${ending}`), form);
        }
      }
    },
  };
}

export default defineConfig({
  // The pages may be served under any path.
  base: "./",
  plugins: [compressAssets()],
  resolve: {
    // Built from the source, so that one build is enough.
    alias: { rejoin: fileURLToPath(new URL("../client/src/index.ts", import.meta.url)) },
  },
  build: { target: "es2022", assetsInlineLimit: 0, reportCompressedSize: true },
  server: { proxy: { "/ws": server, "/api": server } },
  test: { include: ["test/**/*.test.ts"] },
});
