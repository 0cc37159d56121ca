import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vitest/config";

const server = { target: "http://127.0.0.1:7400", ws: true };

/** Writes compressed copies next to each asset, which the server sends if the browser accepts them. */
function compressAssets(): Plugin {
  return {
    name: "compress-assets",
    apply: "build",
    writeBundle({ dir = "" }, bundle) {
      for (const name of Object.keys(bundle).filter((name) =>
        /^assets\/.*\.(js|css|svg)$/.test(name),
      )) {
        const content = readFileSync(join(dir, name));
        const encodings = { br: brotliCompressSync(content), gz: gzipSync(content, { level: 9 }) };
        for (const [extension, encoded] of Object.entries(encodings)) {
          if (encoded.length < content.length)
            writeFileSync(join(dir, `${name}.${extension}`), encoded);
        }
      }
    },
  };
}

export default defineConfig({
  // Relative addresses, because the pages may be served below any path.
  base: "./",
  plugins: [compressAssets()],
  resolve: {
    // The source, so that the pages need no build of the client.
    alias: { rejoin: fileURLToPath(new URL("../client/src/index.ts", import.meta.url)) },
  },
  build: { target: "es2022", assetsInlineLimit: 0, reportCompressedSize: true },
  server: { proxy: { "/ws": server, "/api": server } },
  test: { include: ["test/**/*.test.ts"] },
});
