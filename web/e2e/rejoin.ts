// The real server, in a directory of its own, on a free port.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Connection, type SessionInfo } from "../../client/src/index";
import { WebSocket } from "ws";

const LOG_IN_LINK = /http:\/\/127\.0\.0\.1:(\d+)\/\S*#login=(\S+)/;

export interface Rejoin {
  port: number;
  /** An administrator's. */
  token: string;
  /** Of the log-in link: good once. */
  code: string;
  /** Runs another command with the server's data. */
  command(...args: string[]): string;
  stop(): Promise<void>;
}

export async function startRejoin(): Promise<Rejoin> {
  const directory = mkdtempSync(join(tmpdir(), "rejoin-e2e-"));
  const options = { cwd: directory, env: { ...process.env, SHELL: "/bin/bash", HOME: directory, USER: "ann" } };
  const data = ["--data-dir", join(directory, "data")];
  const child = spawn(binary(), ["serve", "--listen", "127.0.0.1:0", ...data], {
    ...options,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { port, code } = await logInLink(child);
  const command = (...args: string[]) => execFileSync(binary(), [...args, ...data], options).toString().trim();
  const token = command("token", "--user", "ann", "--admin");
  return {
    port,
    token,
    code,
    command,
    async stop() {
      // A close is answered once its program is gone: then none writes to the directory any more.
      await closeSessions(port, token);
      const ended = new Promise((resolve) => child.once("exit", resolve));
      if (child.exitCode === null && child.kill("SIGTERM")) await ended;
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function binary(): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const places = [process.env["REJOIN_BIN"], join(root, "target/release/rejoin"), join(root, "target/debug/rejoin")];
  const found = places.find((place) => place !== undefined && existsSync(place));
  if (found === undefined) throw new Error("there is no binary: build it with cargo, or name it in REJOIN_BIN");
  return found;
}

function logInLink(child: ChildProcess): Promise<{ port: number; code: string }> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it printed a link`)));
    // Read to the end, or the server would block on a full pipe.
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const [, port, code] = LOG_IN_LINK.exec(line) ?? [];
      if (port !== undefined && code !== undefined) resolve({ port: Number(port), code });
    });
  });
}

async function closeSessions(port: number, token: string): Promise<void> {
  const connection = new Connection({ url: `ws://127.0.0.1:${port}/ws`, token: () => token, WebSocket });
  connection.open();
  await new Promise<void>((resolve) => connection.on("open", () => resolve()));
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/sessions`, { headers });
  const { sessions } = (await response.json()) as { sessions: SessionInfo[] };
  await Promise.all(sessions.map(({ id }) => connection.request("close_session", { session: id })));
  connection.close();
}
