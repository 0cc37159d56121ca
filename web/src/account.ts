// Who is logged in. The token is in a cookie that no script can read.

import { signal } from "@preact/signals";
import { RejoinError } from "rejoin";
import { exchange } from "./api";
import { notifyFailure } from "./notices";
import { asSentence, deviceName } from "./wording";

const DEVICE_KEY = "rejoin.device";
/** Who was logged in last: tells one whose log-in has ended from one who comes for the first time. */
const USER_KEY = "rejoin.user";
const FRAGMENT = /#login=([^&\s]+)/;
const AGAIN_MS = 2_000;
const LOG_IN_CODES = new Set(["authentication_failed", "token_expired", "token_revoked", "not_authenticated"]);

export interface Me {
  user_id: string;
  /** Milliseconds since the epoch, or null for a log-in without an end. */
  expires_at: number | null;
  admin: boolean;
}

/** Null while nobody is logged in; undefined until the server has said. */
export const me = signal<Me | null | undefined>(undefined);

/** Why the log-in page is shown, if there is something to say. */
export const logInReason = signal<string | null>(null);

/** Whether the server could not be asked who is logged in. */
export const unreachable = signal(false);

const otherTabs = new BroadcastChannel("rejoin.account");

/** Takes a token, or a link with one; whether it was accepted. */
export async function logIn(text: string): Promise<boolean> {
  const token = FRAGMENT.exec(text)?.[1] ?? text.trim();
  try {
    await exchange("POST", "login", { headers: { authorization: `Bearer ${token}` } });
  } catch (error) {
    if (me.value) notifyFailure("You were not logged in anew.", error);
    else logInReason.value = error instanceof RejoinError ? asSentence(error.message) : "The server could not be reached.";
    me.value ??= null;
    return false;
  }
  otherTabs.postMessage("changed");
  await checkLogIn();
  return true;
}

export async function logOut(): Promise<void> {
  try {
    await exchange("POST", "logout");
  } catch (error) {
    // A log-in that had ended already needs no end.
    if (!(error instanceof RejoinError && LOG_IN_CODES.has(error.code))) {
      notifyFailure("You were not logged out.", error);
      return;
    }
  }
  localStorage.removeItem(USER_KEY);
  loggedOut(null);
  otherTabs.postMessage("changed");
}

/** The server does not know this browser any more. */
export function loggedOut(reason: string | null): void {
  logInReason.value = reason;
  me.value = null;
}

/** Asks the server who is logged in. */
export async function checkLogIn(): Promise<void> {
  try {
    const answer = await exchange<Me>("GET", "me");
    logInReason.value = null;
    localStorage.setItem(USER_KEY, answer.user_id);
    const known = me.value;
    if (known?.user_id !== answer.user_id || known.expires_at !== answer.expires_at) me.value = answer;
  } catch (error) {
    if (error instanceof RejoinError && LOG_IN_CODES.has(error.code)) {
      if (me.value !== null) loggedOut(localStorage.getItem(USER_KEY) === null ? null : "Your log-in has ended.");
    } else if (me.value === undefined) {
      unreachable.value = true;
      setTimeout(() => void checkLogIn(), AGAIN_MS);
      return;
    }
  }
  unreachable.value = false;
}

/** Asks the server as the one who is logged in. Rejects as `exchange` does. */
export async function ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const json = body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  try {
    return await exchange<Answer>(method, path, json || {});
  } catch (error) {
    if (error instanceof RejoinError && LOG_IN_CODES.has(error.code)) void checkLogIn();
    throw error;
  }
}

/** The same for all tabs of this browser. */
export function device(): { id: string; name: string } {
  let id = localStorage.getItem(DEVICE_KEY);
  if (id === null) {
    id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(DEVICE_KEY, id);
  }
  return { id, name: deviceName(navigator.userAgent) };
}

/** A log-in link's token must not stay in the address, nor in the history. */
function takeFromAddress(): string | null {
  const token = FRAGMENT.exec(location.hash)?.[1] ?? null;
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

function begin(): void {
  const token = takeFromAddress();
  if (token !== null) void logIn(token);
  else if (me.value === undefined) void checkLogIn();
}

otherTabs.addEventListener("message", () => void checkLogIn());
// A log-in link may be opened in a tab that is already here.
addEventListener("hashchange", begin);
begin();
