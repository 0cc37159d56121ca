// The page's one connection, and what is known of it.

import { effect, signal } from "@preact/signals";
import { Connection, type ConnectionState } from "rejoin";
import { checkLogIn, device, lastsLonger, loggedOut, me } from "./account";
import { pageUrl } from "./api";
import { notify } from "./notices";
import { asSentence } from "./wording";

/** The log-in is refused: nothing but a new one helps. */
const LOG_IN_CODES = new Set([4500, 4501, 4502]);
/** Handled where they arise, or shown by the session's status. */
const SILENT_ERRORS = new Set<string>(["input_full", "input_out_of_order", "rate_limited", "session_ended", "not_attached"]);

/** The cookie logs it in. */
export const connection = new Connection({ url: webSocketUrl(), device: device() });

export const connectionState = signal<ConnectionState>(connection.state);

connection.on("state", (state) => {
  connectionState.value = state;
  if (state.name === "closed" && state.code !== null && LOG_IN_CODES.has(state.code)) {
    loggedOut(asSentence(state.reason || "The server did not accept the log-in."));
  }
  // A page is not told why it could not connect; a log-in that has ended would be one reason.
  if (state.name === "waiting" && navigator.onLine) void checkLogIn();
});

connection.on("error", ({ code, message }) => {
  if (!SILENT_ERRORS.has(code)) notify(asSentence(message));
});

connection.on("token_expiring", ({ expires_at }) => void stay(expires_at));

/** A session lasts longer with each use; a new connection takes its new end. */
async function stay(until: number): Promise<void> {
  if (await lastsLonger(until)) {
    connection.close();
    connection.open();
  } else {
    notify("Your log-in ends soon. Open a new log-in link to stay.");
  }
}

let openedFor: typeof me.value = null;

effect(() => {
  const current = me.value;
  if (current === openedFor) return;
  openedFor = current;
  // Anew for a new log-in of the same user too: the session before has ended.
  connection.close();
  if (current) connection.open();
});

function webSocketUrl(): string {
  const url = pageUrl("ws");
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}
