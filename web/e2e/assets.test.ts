// The size of the pages on the wire, from the real server.

import { get, type IncomingHttpHeaders } from "node:http";
import { expect, inject, test } from "vitest";

/** All assets together are about 541 kB uncompressed. */
const MAX_BYTES = { gzip: 160_000, br: 140_000 };

const { port } = inject("rejoin");

interface Response {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

function fetchPath(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(pieces),
        }),
      );
    });
    request.on("error", reject);
  });
}

/** Returns the paths of scripts and styles, including those that scripts load later. */
async function assets(): Promise<string[]> {
  const page = (await fetchPath("/")).body.toString();
  const initial = [...page.matchAll(/assets\/[\w.-]+/g)].map(([path]) => `/${path}`);
  const scripts = await Promise.all(
    initial.filter((path) => path.endsWith(".js")).map((path) => fetchPath(path)),
  );
  const later = scripts.flatMap(({ body }) => [
    ...body.toString().matchAll(/[\w-]+-[\w-]{8}\.(?:js|css)/g),
  ]);
  return [...new Set([...initial, ...later.map(([name]) => `/assets/${name}`)])];
}

test.each(["gzip", "br"] as const)("the assets are small with %s", async (coding) => {
  const paths = await assets();
  expect(paths.length).toBeGreaterThan(3);

  let bytes = 0;
  for (const path of paths) {
    const { status, headers, body } = await fetchPath(path, { "accept-encoding": coding });
    expect([path, status, headers["content-encoding"], headers.vary]).toEqual([
      path,
      200,
      coding,
      "accept-encoding",
    ]);
    const cached = await fetchPath(path, {
      "accept-encoding": coding,
      "if-none-match": headers.etag ?? "",
    });
    expect([cached.status, cached.body.length]).toEqual([304, 0]);
    bytes += body.length;
  }

  console.log(`${paths.length} assets: ${bytes} bytes with ${coding}`);

  expect(bytes).toBeLessThan(MAX_BYTES[coding]);
});
