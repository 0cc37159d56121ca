// Who is logged in. The server keeps the session; no script can read its cookie.

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
  /** The id of this browser's session; none where no log-in is needed. */
  browser_session?: string;
}

/** What logs somebody in: a token, or the code of a log-in link. */
type Proof = { token: string } | { code: string };

/** A log-in link of another user than the one who is logged in. */
export interface Switch {
  from: string;
  to: Pick<Me, "user_id" | "admin">;
  proof: Proof;
}

/** Null while nobody is logged in; undefined until the server has said. */
export const me = signal<Me | null | undefined>(undefined);

/** Why the log-in page is shown, if there is something to say. */
export const logInReason = signal<string | null>(null);

/** Whether the server could not be asked who is logged in. */
export const unreachable = signal(false);

/** What a log-in link asks for and the person has to agree to. */
export const switching = signal<Switch | null>(null);

/** Of a log-in link, until the server has said who is logged in. */
let offered: Proof | null = null;

const otherTabs = new BroadcastChannel("rejoin.account");

/** Takes a token, a code, or a link with one of them; whether it was accepted. */
export async function logIn(text: string): Promise<boolean> {
  return exchangeProof(toProof(FRAGMENT.exec(text)?.[1] ?? text.trim()));
}

/** Answers the question of `switching`. */
export async function switchUser(agreed: boolean): Promise<void> {
  const proof = switching.value?.proof;
  switching.value = null;
  if (agreed && proof !== undefined) await exchangeProof(proof);
}

/** Makes a session of a proof, in place of the one that this browser has. */
async function exchangeProof(proof: Proof): Promise<boolean> {
  const { id, name } = device();
  try {
    await exchange("POST", "login", inJson({ ...proof, device_id: id, device_name: name }));
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

/** Uses a log-in link. Asks first if it would switch the user: any page may link here. */
async function takeOffer(proof: Proof): Promise<void> {
  const current = me.value;
  if (!current) {
    await exchangeProof(proof);
    return;
  }
  try {
    const to = await exchange<Switch["to"]>("POST", "login/check", inJson(proof));
    const same = to.user_id === current.user_id && to.admin === current.admin;
    if (same) await exchangeProof(proof);
    else switching.value = { from: current.user_id, to, proof };
  } catch (error) {
    notifyFailure("You were not logged in anew.", error);
  }
}

/** A token has dots (RFC 7519), a code has none. */
function toProof(text: string): Proof {
  return text.includes(".") ? { token: text } : { code: text };
}

function inJson(body: unknown): RequestInit {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
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
    // The end of a session moves with each use; it makes no new log-in.
    const same = known?.user_id === answer.user_id && known.browser_session === answer.browser_session;
    if (!same || known.admin !== answer.admin) me.value = answer;
  } catch (error) {
    if (error instanceof RejoinError && LOG_IN_CODES.has(error.code)) {
      const ended = localStorage.getItem(USER_KEY) === null ? null : "Your log-in has ended.";
      if (me.value !== null && offered === null) loggedOut(ended);
    } else if (me.value === undefined) {
      unreachable.value = true;
      setTimeout(() => void checkLogIn(), AGAIN_MS);
      return;
    }
  }
  unreachable.value = false;
  const proof = offered;
  offered = null;
  if (proof !== null) await takeOffer(proof);
}

/** Uses the session once more, which moves its end; whether it ends later than a time. */
export async function lastsLonger(than: number): Promise<boolean> {
  const answer = await exchange<Me>("GET", "me").catch(() => null);
  return answer !== null && answer.expires_at !== null && answer.expires_at > than;
}

/** Asks the server as the one who is logged in. Rejects as `exchange` does. */
export async function ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  try {
    return await exchange<Answer>(method, path, body === undefined ? {} : inJson(body));
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

/** What a log-in link holds must not stay in the address, nor in the history. */
function takeFromAddress(): Proof | null {
  const text = FRAGMENT.exec(location.hash)?.[1];
  if (text === undefined) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return toProof(text);
}

function begin(): void {
  offered = takeFromAddress() ?? offered;
  if (offered !== null || me.value === undefined) void checkLogIn();
}

otherTabs.addEventListener("message", () => void checkLogIn());
// A log-in link may be opened in a tab that is already here.
addEventListener("hashchange", begin);
begin();
