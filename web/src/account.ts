// The logged-in user. The server keeps the browser session; scripts cannot read its cookie.

import { signal } from "@preact/signals";
import { RejoinError } from "rejoin";
import { fetchApi } from "./api";
import { notifyFailure } from "./notices";
import { asSentence, deviceName } from "./wording";

const DEVICE_KEY = "rejoin.device";
/** The last user: distinguishes an ended login from a first visit. */
const USER_KEY = "rejoin.user";
const LOGIN_FRAGMENT = /#login=([^&\s]+)/;
const RETRY_MS = 2_000;
const NOT_LOGGED_IN_CODES = new Set([
  "authentication_failed",
  "token_expired",
  "token_revoked",
  "not_authenticated",
]);

export interface Me {
  user_id: string;
  /** Milliseconds since the epoch; null for a login that does not expire. */
  expires_at: number | null;
  admin: boolean;
  /** The id of the browser session; absent on servers without login. */
  browser_session?: string;
}

/** A token, or the code of a login link. */
type Credential = { token: string } | { code: string };

/** A login link that waits for confirmation. */
export interface UserSwitch {
  /** The user that is logged in; null if there is none. */
  from: string | null;
  to: Pick<Me, "user_id" | "admin">;
  credential: Credential;
}

/** Null if not logged in; undefined until the server's first reply. */
export const me = signal<Me | null | undefined>(undefined);

/** The reason for the login page, if there is one. */
export const loginReason = signal<string | null>(null);

/** True if the server could not be reached for the first check. */
export const unreachable = signal(false);

/** The user switch that waits for confirmation. */
export const pendingSwitch = signal<UserSwitch | null>(null);

/** The credential of a login link, until the current login is known. */
let linkCredential: Credential | null = null;

const otherTabs = new BroadcastChannel("rejoin.account");

/** Logs in with a token, a code, or a login link. Returns `true` if it was accepted. */
export async function logIn(text: string): Promise<boolean> {
  return logInWith(parseCredential(LOGIN_FRAGMENT.exec(text)?.[1] ?? text.trim()));
}

/** Confirms or cancels `pendingSwitch`. */
export async function switchUser(confirmed: boolean): Promise<void> {
  const credential = pendingSwitch.value?.credential;
  pendingSwitch.value = null;
  if (confirmed && credential !== undefined) await logInWith(credential);
}

/** Replaces the browser session. Returns `true` if the credential was accepted. */
async function logInWith(credential: Credential): Promise<boolean> {
  const { id, name } = device();

  try {
    const body = { ...credential, device_id: id, device_name: name };
    await fetchApi("POST", "login", asJson(body));
  } catch (error) {
    showFailure(error);
    me.value ??= null;
    return false;
  }

  otherTabs.postMessage("changed");
  await checkLogin();
  return true;
}

/**
 * Applies a login link. Asks first unless it is of the user that is logged in.
 *
 * Any website may link to this page, also with a link of an attacker: the user would then type
 * into the attacker's terminals.
 */
async function applyLoginLink(credential: Credential): Promise<void> {
  const current = me.value ?? null;
  try {
    const to = await fetchApi<UserSwitch["to"]>("POST", "login/check", asJson(credential));
    const isSame = to.user_id === current?.user_id && to.admin === current.admin;
    if (isSame) await logInWith(credential);
    else pendingSwitch.value = { from: current?.user_id ?? null, to, credential };
  } catch (error) {
    showFailure(error);
  }
  me.value ??= null;
}

/** Shows why a login failed: on the login page, or as a notice. */
function showFailure(error: unknown): void {
  if (me.value) notifyFailure("Could not log in with the link.", error);
  else if (error instanceof RejoinError) loginReason.value = asSentence(error.message);
  else loginReason.value = "The server could not be reached.";
}

/** Distinguishes tokens from codes: only tokens contain dots (RFC 7519). */
function parseCredential(text: string): Credential {
  return text.includes(".") ? { token: text } : { code: text };
}

function asJson(body: unknown): RequestInit {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

export async function logOut(): Promise<void> {
  try {
    await fetchApi("POST", "logout");
  } catch (error) {
    // A login that has already ended needs no logout.
    if (!isNotLoggedIn(error)) {
      notifyFailure("Could not log out.", error);
      return;
    }
  }

  localStorage.removeItem(USER_KEY);
  setLoggedOut(null);
  // They would show the old user until their next request.
  otherTabs.postMessage("changed");
}

/** Shows the login page. */
export function setLoggedOut(reason: string | null): void {
  loginReason.value = reason;
  me.value = null;
}

/** Fetches the current login, then applies a login link that was opened meanwhile. */
export async function checkLogin(): Promise<void> {
  try {
    const reply = await fetchApi<Me>("GET", "me");
    loginReason.value = null;
    localStorage.setItem(USER_KEY, reply.user_id);

    const known = me.value;
    // `expires_at` moves with each use and does not make it another login.
    const isSame =
      known?.user_id === reply.user_id &&
      known.browser_session === reply.browser_session &&
      known.admin === reply.admin;
    if (!isSame) me.value = reply;
  } catch (error) {
    if (isNotLoggedIn(error)) {
      const wasLoggedIn = localStorage.getItem(USER_KEY) !== null;
      if (me.value !== null && linkCredential === null) {
        setLoggedOut(wasLoggedIn ? "You have been logged out." : null);
      }
    } else if (me.value === undefined) {
      unreachable.value = true;
      setTimeout(() => void checkLogin(), RETRY_MS);
      return;
    }
  }

  unreachable.value = false;
  const credential = linkCredential;
  // Before the login, so that a second call does not use the link again.
  linkCredential = null;
  if (credential !== null) await applyLoginLink(credential);
}

/** Extends the browser session by using it. Returns `true` if it now ends after `time`. */
export async function extendLogin(time: number): Promise<boolean> {
  const reply = await fetchApi<Me>("GET", "me").catch(() => null);
  return reply !== null && reply.expires_at !== null && reply.expires_at > time;
}

/** Sends an API request as the logged-in user. Rejects like `fetchApi`. */
export async function callApi<Reply>(method: string, path: string, body?: unknown): Promise<Reply> {
  try {
    return await fetchApi<Reply>(method, path, body === undefined ? {} : asJson(body));
  } catch (error) {
    if (isNotLoggedIn(error)) void checkLogin();
    throw error;
  }
}

function isNotLoggedIn(error: unknown): boolean {
  return error instanceof RejoinError && NOT_LOGGED_IN_CODES.has(error.code);
}

/** Returns this browser's device, which all its tabs share. */
export function device(): { id: string; name: string } {
  let id = localStorage.getItem(DEVICE_KEY);
  if (id === null) {
    // Browsers offer `randomUUID` only over HTTPS and on localhost.
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(DEVICE_KEY, id);
  }

  return { id, name: deviceName(navigator.userAgent) };
}

/** Removes the credential from the address, so that it is not kept in the history. */
function takeLinkCredential(): Credential | null {
  const text = LOGIN_FRAGMENT.exec(location.hash)?.[1];
  if (text === undefined) return null;

  history.replaceState(null, "", location.pathname + location.search);
  return parseCredential(text);
}

function start(): void {
  linkCredential = takeLinkCredential() ?? linkCredential;
  if (linkCredential !== null || me.value === undefined) void checkLogin();
}

otherTabs.addEventListener("message", () => void checkLogin());
// A login link may be opened in a tab that already shows this page.
addEventListener("hashchange", start);
start();
