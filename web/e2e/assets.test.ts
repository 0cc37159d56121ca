// What the pages cost on the wire, from the real server.

import { get, type IncomingHttpHeaders } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Rejoin, startRejoin } from "./rejoin";

/** All assets together were 541 kB before they were compressed. */
const MOST_BYTES = { gzip: 160_000, br: 140_000 };

let rejoin: Rejoin;

beforeAll(async () => {
  rejoin = await startRejoin();
});
afterAll(() => rejoin.stop());

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

function ask(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port: rejoin.port, path, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) }),
      );
    });
    request.on("error", reject);
  });
}

/** The page's scripts and styles, and those that a script loads later. */
async function assets(): Promise<string[]> {
  const page = (await ask("/")).body.toString();
  const named = [...page.matchAll(/assets\/[\w.-]+/g)].map(([path]) => `/${path}`);
  const scripts = await Promise.all(named.filter((path) => path.endsWith(".js")).map((path) => ask(path)));
  const later = scripts.flatMap(({ body }) => [...body.toString().matchAll(/[\w-]+-[\w-]{8}\.(?:js|css)/g)]);
  return [...new Set([...named, ...later.map(([name]) => `/assets/${name}`)])];
}

test.each(["gzip", "br"] as const)("the assets are small with %s", async (coding) => {
  const paths = await assets();
  expect(paths.length).toBeGreaterThan(3);
  let bytes = 0;
  for (const path of paths) {
    const { status, headers, body } = await ask(path, { "accept-encoding": coding });
    expect([path, status, headers["content-encoding"], headers.vary]).toEqual([path, 200, coding, "accept-encoding"]);
    const again = await ask(path, { "accept-encoding": coding, "if-none-match": headers.etag ?? "" });
    expect([again.status, again.body.length]).toEqual([304, 0]);
    bytes += body.length;
  }
  console.log(`${paths.length} assets: ${bytes} bytes with ${coding}`);
  expect(bytes).toBeLessThan(MOST_BYTES[coding]);
});
