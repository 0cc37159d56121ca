// The real server, in its own directory, on a free port.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { Connection, type SessionInfo } from "../../client/src/index";

const LOGIN_LINK = /http:\/\/127\.0\.0\.1:(\d+)\/\S*#login=(\S+)/;

/** A running server. Plain data, so that it can be passed to the test workers. */
export interface RejoinServer {
  binary: string;
  directory: string;
  port: number;
  /** The code of the printed login link, valid once, for the administrator `ann`. */
  code: string;
}

/** Starts a server. Returns it with a function that stops it. */
export async function startRejoin(): Promise<{ server: RejoinServer; stop: () => Promise<void> }> {
  const binary = findBinary();
  const directory = mkdtempSync(join(tmpdir(), "rejoin-e2e-"));
  const child = spawn(binary, ["serve", "--listen", "127.0.0.1:0", ...dataOptions(directory)], {
    ...processOptions(directory),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { port, code } = await readLoginLink(child);
  const server = { binary, directory, port, code };

  const stop = async () => {
    // A close is acknowledged once the program has ended. Afterwards nothing writes to the
    // directory.
    await closeSessions(server);
    const exited = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.kill("SIGTERM")) await exited;
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  return { server, stop };
}

/** Runs a command of the binary with the server's data. Returns its output. */
export function runCommand({ binary, directory }: RejoinServer, ...command: string[]): string {
  const options = processOptions(directory);
  const output = execFileSync(binary, [...command, ...dataOptions(directory)], options);
  return output.toString().trim();
}

function dataOptions(directory: string): string[] {
  return ["--data-dir", join(directory, "data")];
}

function processOptions(directory: string): { cwd: string; env: NodeJS.ProcessEnv } {
  const env = { ...process.env, SHELL: "/bin/bash", HOME: directory, USER: "ann" };
  return { cwd: directory, env };
}

function findBinary(): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const candidates = [
    process.env.REJOIN_BIN,
    join(root, "target/release/rejoin"),
    join(root, "target/debug/rejoin"),
  ];

  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found === undefined) {
    throw new Error("There is no binary. Build it with cargo, or set REJOIN_BIN to its path.");
  }

  return found;
}

function readLoginLink(child: ChildProcess): Promise<{ port: number; code: string }> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) =>
      reject(new Error(`The server exited with ${code} before it printed a login link.`)),
    );

    // Reads to the end: a full pipe would block the server.
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => {
      const [, port, code] = LOGIN_LINK.exec(line) ?? [];
      if (port !== undefined && code !== undefined) resolve({ port: Number(port), code });
    });
  });
}

async function closeSessions(server: RejoinServer): Promise<void> {
  const token = runCommand(server, "token", "--user", "ann", "--admin");
  const url = `ws://127.0.0.1:${server.port}/ws`;
  const connection = new Connection({ url, token: () => token, WebSocket });
  connection.open();
  await new Promise<void>((resolve) => connection.on("open", () => resolve()));

  const headers = { authorization: `Bearer ${token}` };
  const address = `http://127.0.0.1:${server.port}/api/v1/sessions?limit=1000`;
  const response = await fetch(address, { headers });
  const { sessions } = (await response.json()) as { sessions: SessionInfo[] };

  await Promise.all(sessions.map(({ id }) => connection.request("close_session", { session: id })));
  connection.close();
}
