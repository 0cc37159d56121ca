// The pages over the in-memory server, for states that a real one is hard to bring into.

import { existsSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { TestServer } from "../../client/test/server";

const PAGES = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

export interface PagesServer {
  server: TestServer;
  origin: string;
  profiles: string[];
}

export async function servePages(): Promise<PagesServer> {
  if (!existsSync(join(PAGES, "index.html"))) throw new Error("the pages are not built: npm run build");
  const pages: PagesServer = { server: null as never, origin: "", profiles: ["terminal"] };
  pages.server = await TestServer.start({ echo: true, http: (request, response) => answer(pages, request, response) });
  pages.origin = `http://127.0.0.1:${pages.server.port}`;
  return pages;
}

function answer({ server, profiles }: PagesServer, request: IncomingMessage, response: ServerResponse): void {
  const path = new URL(request.url ?? "/", "http://server").pathname;
  if (path.startsWith("/api/")) {
    const known = request.headers.authorization === "Bearer good";
    const sessions = [...server.sessions.values()].map(({ info }) => info);
    const body = path.endsWith("/profiles") ? { profiles } : { sessions };
    response.writeHead(known ? 200 : 401, { "content-type": "application/json" });
    response.end(JSON.stringify(known ? body : { title: "Unauthorized" }));
    return;
  }
  const file = join(PAGES, path === "/" ? "index.html" : path);
  if (!file.startsWith(PAGES) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  response.end(readFileSync(file));
}
