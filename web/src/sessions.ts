// The list of sessions: asked for over HTTP in pages, then kept by what the server says of changes.

import { effect, signal } from "@preact/signals";
import { type SessionChange, type SessionInfo, Topic, type TopicMessage } from "rejoin";
import { ask, me } from "./account";
import { connection } from "./link";
import { notifyFailure } from "./notices";
import { openSession } from "./route";
import { type Filter, matches, queryOf, unfiltered } from "./session-filter";

/** Of other users' sessions nothing is said, and an administrator may have them in the list. */
const EVERYONE_REFRESH_MS = 10_000;
/** Many changes of the filter, or of what it hides, are one question. */
const AGAIN_MS = 200;
const PAGE = 100;
/** The longest page that the server gives. */
const LONGEST_PAGE = 1000;

type News = (list: SessionInfo[]) => SessionInfo[];
interface Page {
  sessions: SessionInfo[];
  next: string | null;
}

/** Newest first, as the filter says. Null until the first answer. */
export const sessions = signal<SessionInfo[] | null>(null);
/** Where the next page begins; null if all is listed. */
export const nextPage = signal<string | null>(null);
export const filter = signal<Filter>(unfiltered);
export const profiles = signal<string[]>([]);
/** The open session, if the list does not have it. */
const unlisted = signal<SessionInfo | null>(null);

/** What was heard since each question that is not answered yet: newer than its answer. */
const questions = new Set<News[]>();
let lastQuestion = 0;
let lastAnswered = 0;
let askingAgain: ReturnType<typeof setTimeout> | undefined;

export function sessionTitle(session: Pick<SessionInfo, "title" | "name" | "profile">): string {
  return session.title || session.name || session.profile;
}

/** What is known of a session; undefined if nothing is. */
export function sessionInfo(id: string | null): SessionInfo | undefined {
  const known = sessions.value?.find((session) => session.id === id);
  return known ?? (unlisted.value?.id === id ? (unlisted.value ?? undefined) : undefined);
}

/** Asks anew for what is listed; while the server cannot be reached, the list stays as it was. */
export async function refreshSessions(): Promise<void> {
  const listed = Math.ceil((sessions.value?.length ?? 0) / PAGE) * PAGE;
  await list({ limit: Math.min(LONGEST_PAGE, Math.max(PAGE, listed)) }, ({ sessions: page }) => page);
}

/** Lists the next page as well. */
export async function listMore(): Promise<void> {
  const after = nextPage.value;
  if (after === null) return;
  await list({ limit: PAGE, after }, ({ sessions: page }) => [...(sessions.value ?? []), ...page]);
}

/** Shows other sessions, or fewer. */
export function setFilter(change: Partial<Filter>): void {
  filter.value = { ...filter.value, ...change };
  // What is listed already is filtered at once, the rest when the person pauses.
  hear((known) => known);
  refreshSoon();
}

/** Removes the person's own sessions that have ended, of those that the filter finds. */
export async function clearEnded(): Promise<void> {
  const own: Filter = { ...filter.value, state: "ended", everyone: false };
  try {
    const { sessions: ended } = await ask<Page>("GET", `sessions?${queryOf(own, me.value, { limit: LONGEST_PAGE })}`);
    for (const { id } of ended) await connection.request("close_session", { session: id });
    const gone = new Set(ended.map(({ id }) => id));
    hear((known) => known.filter(({ id }) => !gone.has(id)));
  } catch (error) {
    notifyFailure("Not all ended terminals were removed.", error);
  }
  void refreshSessions();
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

async function list(page: { limit: number; after?: string }, listed: (page: Page) => SessionInfo[]): Promise<void> {
  if (!me.value) return;
  const [asker, asked] = [me.value, filter.value];
  const question = ++lastQuestion;
  const heard: News[] = [];
  questions.add(heard);
  try {
    const answer = await ask<Page>("GET", `sessions?${queryOf(asked, asker, page)}`);
    if (question < lastAnswered || me.value !== asker || filter.value !== asked) return;
    lastAnswered = question;
    nextPage.value = answer.next;
    sessions.value = heard.reduce((known, news) => news(known), inOrder(listed(answer)));
  } catch {
    // The connection's status says what there is to say.
  } finally {
    questions.delete(heard);
  }
}

function hearChange({ event, data }: TopicMessage): void {
  const session = data as SessionInfo;
  if (event === "created") hear(put(session));
  else if (event === "changed") {
    // A change may be told after one's own removal was answered: it brings nothing back.
    hear((list) => list.map((known) => (known.id === session.id ? session : known)));
    const isListed = sessions.value?.some(({ id }) => id === session.id);
    if (!isListed && filter.value !== unfiltered && matches(session, filter.value)) refreshSoon();
  } else if (event === "removed") hear(remove(session.id));
}

function hear(news: News): void {
  const shown: News = (list) => news(list).filter((session) => matches(session, filter.value));
  for (const heard of questions) heard.push(shown);
  if (sessions.value !== null) sessions.value = shown(sessions.value);
  const open = unlisted.value;
  if (open !== null) unlisted.value = news([open]).find(({ id }) => id === open.id) ?? null;
}

function put(session: SessionInfo): News {
  return (list) => inOrder([...list.filter(({ id }) => id !== session.id), session]);
}

function remove(gone: string): News {
  return (list) => list.filter(({ id }) => id !== gone);
}

/** As the server has it. A session that came between two pages is in both. */
function inOrder(list: SessionInfo[]): SessionInfo[] {
  const byId = new Map(list.filter(({ kind }) => kind === "terminal").map((session) => [session.id, session]));
  return [...byId.values()].sort((one, other) => other.created_at - one.created_at || (one.id < other.id ? 1 : -1));
}

function refreshSoon(): void {
  clearTimeout(askingAgain);
  askingAgain = setTimeout(() => void refreshSessions(), AGAIN_MS);
}

async function refreshProfiles(): Promise<void> {
  const answer = await ask<{ profiles: string[] }>("GET", "profiles").catch(() => null);
  if (answer !== null) profiles.value = answer.profiles;
}

function refreshEveryone(): void {
  if (filter.value.everyone && document.visibilityState === "visible") void refreshSessions();
}

async function refreshUnlisted(id: string): Promise<void> {
  // What is not there is told by the terminal.
  const info = await ask<SessionInfo>("GET", `sessions/${encodeURIComponent(id)}`).catch(() => null);
  if (openSession.value === id) unlisted.value = info;
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
  const user = me.value?.user_id;
  if (user === listOf) return;
  listOf = user;
  sessions.value = null;
  nextPage.value = null;
  filter.value = unfiltered;
});

let asked: string | null = null;
effect(() => {
  const id = openSession.value;
  const isListed = sessions.value === null || sessions.value.some((session) => session.id === id);
  if (id === null || isListed) asked = null;
  else if (asked !== id) {
    asked = id;
    void refreshUnlisted(id);
  }
});
setInterval(refreshEveryone, EVERYONE_REFRESH_MS);
document.addEventListener("visibilitychange", refreshEveryone);
