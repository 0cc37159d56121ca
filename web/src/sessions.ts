// The list of sessions: asked for over HTTP, then kept by what the server says of changes.

import { effect, signal } from "@preact/signals";
import { type SessionChange, type SessionInfo, Topic, type TopicMessage } from "rejoin";
import { ask, me } from "./account";
import { connection } from "./link";
import { notifyFailure } from "./notices";

/** Of other users' sessions nothing is said, and an administrator has them in the list. */
const ADMIN_REFRESH_MS = 10_000;

type News = (list: SessionInfo[]) => SessionInfo[];

/** Null until the first answer. */
export const sessions = signal<SessionInfo[] | null>(null);
export const profiles = signal<string[]>([]);

/** What was heard since each question that is not answered yet: newer than its answer. */
const questions = new Set<News[]>();
let lastQuestion = 0;
let lastAnswered = 0;

export function sessionTitle(session: Pick<SessionInfo, "title" | "name" | "profile">): string {
  return session.title || session.name || session.profile;
}

/** Asks anew; while the server cannot be reached, the list stays as it was. */
export async function refreshSessions(): Promise<void> {
  if (!me.value) return;
  const asker = me.value;
  const question = ++lastQuestion;
  const heard: News[] = [];
  questions.add(heard);
  try {
    const { sessions: list } = await ask<{ sessions: SessionInfo[] }>("GET", "sessions");
    if (question < lastAnswered || me.value !== asker) return;
    lastAnswered = question;
    sessions.value = heard.reduce((known, news) => news(known), inOrder(list));
  } catch {
    // The connection's status says what there is to say.
  } finally {
    questions.delete(heard);
  }
}

/** What is heard of the open session is newer than the list. */
export function noteChange({ session, status, title, exit }: SessionChange): void {
  const news = { ...(status && { status }), ...(title !== undefined && { title }), ...(exit && { exit }) };
  hear((list) => list.map((known) => (known.id === session ? { ...known, ...news } : known)));
}

/** Starts a terminal; null if it could not be, which is told. */
export async function createTerminal(size: { cols: number; rows: number }, profile?: string): Promise<string | null> {
  try {
    const payload = { kind: "terminal", ...size, ...(profile !== undefined && { profile }) };
    const { session } = await connection.request("create_session", payload);
    hear(put(session));
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
    hear(remove(id));
    return true;
  } catch (error) {
    notifyFailure("The session was not closed.", error);
    void refreshSessions();
    return false;
  }
}

function hearChange({ event, data }: TopicMessage): void {
  const session = data as SessionInfo;
  if (event === "created") hear(put(session));
  // A change may be told after one's own removal was answered: it brings nothing back.
  else if (event === "changed") hear((list) => list.map((known) => (known.id === session.id ? session : known)));
  else if (event === "removed") hear(remove(session.id));
}

function hear(news: News): void {
  for (const heard of questions) heard.push(news);
  if (sessions.value !== null) sessions.value = news(sessions.value);
}

function put(session: SessionInfo): News {
  return (list) => inOrder([...list.filter(({ id }) => id !== session.id), session]);
}

function remove(gone: string): News {
  return (list) => list.filter(({ id }) => id !== gone);
}

function inOrder(list: SessionInfo[]): SessionInfo[] {
  return list
    .filter((session) => session.kind === "terminal")
    .sort((one, other) => one.created_at - other.created_at || (one.id < other.id ? -1 : 1));
}

async function refreshProfiles(): Promise<void> {
  const answer = await ask<{ profiles: string[] }>("GET", "profiles").catch(() => null);
  if (answer !== null) profiles.value = answer.profiles;
}

function refreshForAdmin(): void {
  if (me.value?.admin && document.visibilityState === "visible") void refreshSessions();
}

connection.on("open", () => void refreshProfiles());

/** Of the one who is logged in. Asked for the list only after it is followed, so that no change falls in between. */
const changes = new Topic(connection, "@sessions");
changes.on("message", hearChange);
changes.on("subscribed", () => void refreshSessions());
changes.on("gap", () => void refreshSessions());
changes.on("failed", () => void refreshSessions());

let listOf: string | undefined;
effect(() => {
  if (me.value?.user_id !== listOf) sessions.value = null;
  listOf = me.value?.user_id;
});
setInterval(refreshForAdmin, ADMIN_REFRESH_MS);
document.addEventListener("visibilitychange", refreshForAdmin);
