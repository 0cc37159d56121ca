// The page's one connection, and what is known of it.

import { effect, signal } from "@preact/signals";
import { Connection, type ConnectionState } from "rejoin";
import { device, logInReason, logOut, token } from "./account";
import { notify } from "./notices";
import { asSentence } from "./wording";

/** The token is refused: nothing but a new one helps. */
const TOKEN_CODES = new Set([4500, 4501, 4502]);
/** Handled where they arise, or shown by the session's status. */
const SILENT_ERRORS = new Set<string>(["input_full", "input_out_of_order", "session_ended", "not_attached"]);

export const connection = new Connection({ url: webSocketUrl(), token: () => token.value, device: device() });

export const connectionState = signal<ConnectionState>(connection.state);

connection.on("state", (state) => {
  connectionState.value = state;
  if (state.name === "closed" && state.code !== null && TOKEN_CODES.has(state.code)) {
    logOut(asSentence(state.reason || "The server did not accept the token."));
  }
});

connection.on("message", (message) => {
  if (message.type !== "error" || SILENT_ERRORS.has(message.payload.code)) return;
  if (connection.state.name === "connected") notify(asSentence(message.payload.message));
});

let usedToken: string | null = null;

effect(() => {
  const current = token.value;
  if (current === usedToken) return;
  usedToken = current;
  connection.close();
  if (current !== null) {
    logInReason.value = null;
    connection.open();
  }
});

/** Where the page is, whatever the path it is served under. */
export function pageUrl(path: string): URL {
  return new URL(path, document.baseURI);
}

function webSocketUrl(): string {
  const url = pageUrl("ws");
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}
