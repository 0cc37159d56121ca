// The page's only connection, and its state.

import { effect, signal } from "@preact/signals";
import { Connection, type ConnectionState } from "rejoin";
import { checkLogin, device, extendLogin, me, setLoggedOut } from "./account";
import { pageUrl } from "./api";
import { notify } from "./notices";
import { asSentence } from "./wording";

/** Close codes that only a new login resolves. */
const LOGIN_CLOSE_CODES = new Set([4500, 4501, 4502]);
/** Errors that are handled where they occur or shown by the session's status. */
const SILENT_ERRORS = new Set<string>([
  "input_full",
  "input_out_of_order",
  "rate_limited",
  "session_ended",
  "not_attached",
]);

/** Authenticates with the cookie. */
export const connection = new Connection({ url: webSocketUrl(), device: device() });

export const connectionState = signal<ConnectionState>(connection.state);

connection.on("state", (state) => {
  connectionState.value = state;

  if (state.name === "closed" && state.code !== null && LOGIN_CLOSE_CODES.has(state.code)) {
    setLoggedOut(asSentence(state.reason || "The server refused the login."));
  }

  // Browsers hide the reason of a failed upgrade; an ended login is one of the possible reasons.
  if (state.name === "waiting" && navigator.onLine) void checkLogin();
});

connection.on("error", ({ code, message }) => {
  if (!SILENT_ERRORS.has(code)) notify(asSentence(message));
});

connection.on("token_expiring", ({ expires_at }) => void extendOrWarn(expires_at));

/** Extends the login. Reconnects, because a connection keeps the expiry that it started with. */
async function extendOrWarn(expiresAt: number): Promise<void> {
  if (!(await extendLogin(expiresAt))) {
    notify("Your login expires soon. Open a new login link to stay logged in.");
    return;
  }

  connection.close();
  connection.open();
}

let openedFor: typeof me.value = null;

effect(() => {
  const current = me.value;
  if (current === openedFor) return;

  openedFor = current;

  // Also for a new login of the same user: the previous browser session has ended.
  connection.close();
  if (current) connection.open();
});

function webSocketUrl(): string {
  const url = pageUrl("ws");
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}
