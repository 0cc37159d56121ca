// The list of sessions, asked for over HTTP and kept fresh.

import { effect, signal } from "@preact/signals";
import type { SessionChange, SessionInfo } from "rejoin";
import { logOut, token } from "./account";
import { connection, connectionState, pageUrl } from "./link";
import { notifyFailure } from "./notices";

const REFRESH_MS = 3_000;

/** Null until the first answer. */
export const sessions = signal<SessionInfo[] | null>(null);
export const profiles = signal<string[]>([]);

export function sessionTitle(session: Pick<SessionInfo, "title" | "name" | "profile">): string {
  return session.title || session.name || session.profile;
}

/** Asks anew; while there is no connection, the list stays as it was. */
export async function refreshSessions(): Promise<void> {
  const answer = await get<{ sessions: SessionInfo[] }>("api/v1/sessions");
  if (answer === null) return;
  sessions.value = answer.sessions
    .filter((session) => session.kind === "terminal")
    .sort((one, other) => one.created_at - other.created_at || (one.id < other.id ? -1 : 1));
}

/** What is heard of the open session is newer than the list. */
export function noteChange({ session, status, title, exit }: SessionChange): void {
  const news = { ...(status && { status }), ...(title !== undefined && { title }), ...(exit && { exit }) };
  sessions.value = sessions.value?.map((known) => (known.id === session ? { ...known, ...news } : known)) ?? null;
}

/** Starts a terminal; null if it could not be, which is told. */
export async function createTerminal(size: { cols: number; rows: number }, profile?: string): Promise<string | null> {
  try {
    const payload = { kind: "terminal", ...size, ...(profile !== undefined && { profile }) };
    const { session } = await connection.request("create_session", payload);
    sessions.value = [...(sessions.value ?? []).filter(({ id }) => id !== session.id), session];
    void refreshSessions();
    return session.id;
  } catch (error) {
    notifyFailure("The terminal was not started.", error);
    return null;
  }
}

/** Ends the session's program and removes it from the list; whether that worked. */
export async function closeSession(id: string): Promise<boolean> {
  try {
    await connection.request("close_session", { session: id });
    return true;
  } catch (error) {
    notifyFailure("The session was not closed.", error);
    return false;
  } finally {
    void refreshSessions();
  }
}

async function refreshProfiles(): Promise<void> {
  const answer = await get<{ profiles: string[] }>("api/v1/profiles");
  if (answer !== null) profiles.value = answer.profiles;
}

async function get<Answer>(path: string): Promise<Answer | null> {
  const shown = token.value;
  if (shown === null) return null;
  try {
    const response = await fetch(pageUrl(path), { headers: { authorization: `Bearer ${shown}` } });
    if (response.status === 401 && token.value === shown) logOut("Your log-in is not valid any more.");
    return response.ok && token.value === shown ? ((await response.json()) as Answer) : null;
  } catch {
    // Unreachable: the connection's status says so.
    return null;
  }
}

function refreshIfVisible(): void {
  if (document.visibilityState === "visible" && connection.state.name === "connected") void refreshSessions();
}

effect(() => {
  if (connectionState.value.name !== "connected") return;
  void refreshSessions();
  void refreshProfiles();
});
effect(() => {
  if (token.value === null) sessions.value = null;
});
setInterval(refreshIfVisible, REFRESH_MS);
addEventListener("focus", refreshIfVisible);
document.addEventListener("visibilitychange", refreshIfVisible);
