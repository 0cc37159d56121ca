// The client side of tests: connections, events, and a viewer that joins chunks to a text.

import { WebSocket } from "ws";
import {
  Connection,
  type ConnectionEvents,
  Terminal,
  type TerminalEvents,
  type TerminalOptions,
  type TokenProvider,
} from "../src/index.js";
import type { TestServer } from "./test-server.js";
import type { TestSession } from "./test-session.js";

/** Opens a connection. */
export function connect(server: TestServer, token: TokenProvider = () => "good"): Connection {
  const connection = new Connection({ url: server.url, token, WebSocket });
  connection.open();
  return connection;
}

/** Returns the next event that matches. */
export function next<Events extends object, Name extends keyof Events>(
  source: { on(name: Name, listener: (value: Events[Name]) => void): () => void },
  name: Name,
  matches: (value: Events[Name]) => boolean = () => true,
): Promise<Events[Name]> {
  return new Promise((resolve) => {
    const stop = source.on(name, (value) => {
      if (!matches(value)) return;

      stop();
      resolve(value);
    });
  });
}

/** Returns the next state of a name. */
export function nextState<Name extends ConnectionEvents["state"]["name"]>(
  connection: Connection,
  name: Name,
): Promise<Extract<ConnectionEvents["state"], { name: Name }>> {
  return next<ConnectionEvents, "state">(
    connection,
    "state",
    (state) => state.name === name,
  ) as never;
}

/** A terminal and the text on its screen. */
export class Viewer {
  readonly terminal: Terminal;
  screen = "";
  snapshots = 0;
  verdicts: string[] = [];
  /** Chunks that a slow screen has not parsed; null for a fast screen. */
  backlog: (() => void)[] | null = null;
  #waiting: { text: string; resolve: () => void }[] = [];

  constructor(connection: Connection, session: TestSession, options?: TerminalOptions) {
    this.terminal = new Terminal(connection, session.info.id, options);
    this.terminal.on("attached", ({ verdict }) => this.verdicts.push(verdict));
    this.terminal.on("snapshot", (chunk) => {
      this.snapshots += 1;
      this.#show("", chunk);
    });
    this.terminal.on("output", (chunk) => this.#show(this.screen, chunk));
  }

  attached(): Promise<TerminalEvents["attached"]> {
    return next<TerminalEvents, "attached">(this.terminal, "attached");
  }

  /** Waits until the screen ends with `text`. */
  shows(text: string): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ text, resolve });
      this.#check();
    });
  }

  #show(before: string, { bytes, parsed }: TerminalEvents["output"]): void {
    this.screen = before + Buffer.from(bytes).toString();
    if (this.backlog === null) parsed();
    else this.backlog.push(parsed);
    this.#check();
  }

  #check(): void {
    for (const { text, resolve } of this.#waiting) if (this.screen.endsWith(text)) resolve();
  }
}
