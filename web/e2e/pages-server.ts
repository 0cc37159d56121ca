// The pages and their HTTP API over the in-memory server, for states that are hard to reach.

import { existsSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { SessionInfo } from "../../client/src/index";
import { TestServer } from "../../client/test/test-server";
import type { BrowserSession, ConnectionInfo } from "../src/devices";
import { type Filter, matches } from "../src/session-filter";

const PAGES = fileURLToPath(new URL("../dist/", import.meta.url));
/** Equals the server's policy. */
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
  "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'";
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

export interface PagesServer {
  server: TestServer;
  /** The address of the pages, with a trailing slash. */
  home: string;
  profiles: string[];
  /** Connections of the user besides the real ones. */
  otherConnections: ConnectionInfo[];
  browserSessions: BrowserSession[];
  /** The requests that changed something: method, path, body. */
  changes: string[];
  admin: boolean;
  /** True if the server refuses the cookie, as after the login's end. */
  rejectsCookie: boolean;
}

/** Serves the built pages below a base path. */
export async function servePages(base = "/"): Promise<PagesServer> {
  if (!existsSync(join(PAGES, "index.html")))
    throw new Error("The pages are not built. Run `npm run build`.");
  const pages: PagesServer = {
    server: null as never,
    home: "",
    profiles: ["terminal"],
    otherConnections: [],
    browserSessions: [],
    changes: [],
    admin: false,
    rejectsCookie: false,
  };
  const http = (request: IncomingMessage, response: ServerResponse) =>
    void handle(pages, base, request, response);
  pages.server = await TestServer.start({ echo: true, http, base });
  pages.home = `http://127.0.0.1:${pages.server.port}${base}`;
  return pages;
}

async function handle(
  pages: PagesServer,
  base: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://server");
  const path = pathname.startsWith(base) ? pathname.slice(base.length) : null;

  if (path?.startsWith("api/v1/")) {
    const body = await readBody(request);
    const [status, reply] = handleApi(
      pages,
      request,
      response,
      `${request.method} ${path.slice("api/v1/".length)}`,
      body,
    );
    response.writeHead(status, { "content-type": "application/json" });
    response.end(reply === undefined ? undefined : JSON.stringify(reply));
    return;
  }

  // The prefix check below refuses paths that leave the folder.
  const file = join(PAGES, path || "index.html");
  if (path === null || !file.startsWith(PAGES) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }

  response.writeHead(200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
  });
  const page = file.endsWith("index.html");
  response.end(
    page
      ? readFileSync(file, "utf8").replace('<base href="/" />', `<base href="${base}" />`)
      : readFileSync(file),
  );
}

type ApiReply = [status: number, body?: unknown];

function handleApi(
  pages: PagesServer,
  { headers, url }: IncomingMessage,
  response: ServerResponse,
  operation: string,
  body: string,
): ApiReply {
  const { searchParams } = new URL(url ?? "/", "http://server");
  const cookie = (value: string) =>
    response.setHeader(
      "set-cookie",
      `rejoin_session=${value}; HttpOnly; SameSite=Strict; Path=${new URL(pages.home).pathname}`,
    );

  if (operation === "POST login" || operation === "POST login/check") {
    const { token, code } = JSON.parse(body) as { token?: string; code?: string };
    if ((token ?? code) !== "good") return refuse(code === "expired");
    if (operation === "POST login/check") {
      return [200, { user_id: "ada", admin: pages.admin, expires_at: null }];
    }

    cookie("good");
    pages.rejectsCookie = false;
    return [204];
  }

  if (pages.rejectsCookie || !headers.cookie?.includes("rejoin_session=good")) return refuse(false);

  const { server, profiles, admin } = pages;
  const [method, path = ""] = operation.split(" ");
  if (method !== "GET") pages.changes.push(body === "" ? operation : `${operation} ${body}`);

  if (operation === "POST logout") {
    cookie("; Max-Age=0");
    return [204];
  }

  if (operation === "GET me") return [200, { user_id: "ada", expires_at: null, admin }];
  if (operation === "GET profiles") return [200, { profiles }];
  if (operation === "GET sessions") return [200, sessionPage(server, searchParams)];

  const session = method === "GET" && server.sessions.get(path.replace("sessions/", ""));
  if (session) return [200, session.info];
  if (operation === "GET users/ada/browser-sessions")
    return [200, { browser_sessions: pages.browserSessions }];
  if (path.startsWith("users/ada/browser-sessions/")) {
    pages.browserSessions = pages.browserSessions.filter(({ id }) => !path.endsWith(`/${id}`));
    return [204];
  }

  if (operation === "GET users/ada/connections")
    return [200, { connections: allConnections(pages), next: null }];
  if (method === "DELETE") return endConnections(pages, ({ id }) => path === `connections/${id}`);
  if (operation === "POST users/ada/disconnect")
    return endConnections(pages, ({ device }) => device === JSON.parse(body).device);
  return [404, { title: "Not found", status: 404, code: "not_found" }];
}

/** Returns a page of the list, newest first like the server. */
function sessionPage(
  server: TestServer,
  query: URLSearchParams,
): { sessions: SessionInfo[]; next: string | null } {
  const [user, text, state] = [
    query.get("user"),
    query.get("q") ?? "",
    query.get("state") ?? "all",
  ] as const;

  const filter = { text, state: state as Filter["state"], everyone: user === null };
  const found = [...server.sessions.values()]
    .map(({ info }) => info)
    .filter((info) => (user === null || info.owner === user) && matches(info, filter))
    .sort((one, other) => other.created_at - one.created_at || (one.id < other.id ? 1 : -1));

  const begin = found.findIndex(({ id }) => id === query.get("after")) + 1;
  const page = found.slice(begin, begin + Number(query.get("limit")));
  return {
    sessions: page,
    next: begin + page.length < found.length ? (page.at(-1)?.id ?? null) : null,
  };
}

function refuse(expired: boolean): ApiReply {
  const detail = expired ? "the token has expired" : "the token is not valid";
  const code = expired ? "token_expired" : "authentication_failed";
  return [401, { title: "The token was refused.", status: 401, detail, code, retryable: false }];
}

function endConnections(pages: PagesServer, ends: (info: ConnectionInfo) => boolean): ApiReply {
  const ended = new Set(
    allConnections(pages)
      .filter(ends)
      .map(({ id }) => id),
  );
  pages.otherConnections = pages.otherConnections.filter(({ id }) => !ended.has(id));
  for (const { id, socket } of pages.server.connections) if (ended.has(id)) socket.close(4504);
  return [204];
}

function allConnections({ server, otherConnections }: PagesServer): ConnectionInfo[] {
  const open = [...server.connections].map(({ id, device, userAgent, connectedAt }) => ({
    id,
    user: "ada",
    device: device.id,
    device_name: device.name,
    role_context: null,
    address: "127.0.0.1",
    user_agent: userAgent,
    connected_at: connectedAt,
    last_heard_at: connectedAt,
  }));
  return [...open, ...otherConnections];
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const piece of request) body += piece;
  return body;
}
