// The list of sessions: fetched in pages over HTTP, then updated by the topic `@sessions`.

import { effect, signal } from "@preact/signals";
import { type SessionChange, type SessionInfo, Topic, type TopicMessage } from "rejoin";
import { callApi, me } from "./account";
import { connection } from "./connection";
import { notifyFailure } from "./notices";
import { openSession } from "./route";
import { type Filter, matches, queryOf, unfiltered } from "./session-filter";

/** The topic has no changes of other users' sessions, which administrators can list. */
const EVERYONE_REFRESH_MS = 10_000;
/** Combines several changes of the filter or of hidden sessions into one request. */
const REFRESH_DELAY_MS = 200;
const PAGE_SIZE = 100;
/** The server's limit of a page. */
const MAX_PAGE_SIZE = 1000;

type ListUpdate = (list: SessionInfo[]) => SessionInfo[];

interface Page {
  sessions: SessionInfo[];
  next: string | null;
}

/** The sessions that match the filter, newest first. Null until the first reply. */
export const sessions = signal<SessionInfo[] | null>(null);
/** The start of the next page; null if all sessions are listed. */
export const nextPage = signal<string | null>(null);
export const filter = signal<Filter>(unfiltered);
export const profiles = signal<string[]>([]);
/** The open session if it is not in the list. */
const unlisted = signal<SessionInfo | null>(null);

/** The updates since each pending request. They are newer than its reply. */
const pendingUpdates = new Set<ListUpdate[]>();
let lastRequest = 0;
let lastReply = 0;
let refreshTimer: ReturnType<typeof setTimeout> | undefined;

export function sessionTitle(session: Pick<SessionInfo, "title" | "name" | "profile">): string {
  return session.title || session.name || session.profile;
}

/** Returns a session, listed or not; undefined if it is unknown. */
export function sessionInfo(id: string | null): SessionInfo | undefined {
  const listed = sessions.value?.find((session) => session.id === id);
  return listed ?? (unlisted.value?.id === id ? (unlisted.value ?? undefined) : undefined);
}

/** Fetches the listed pages again. Keeps the list if the server cannot be reached. */
export async function refreshSessions(): Promise<void> {
  // As many as are listed, so that a refresh does not shorten the list that a user has extended.
  const listed = Math.ceil((sessions.value?.length ?? 0) / PAGE_SIZE) * PAGE_SIZE;
  const limit = Math.min(MAX_PAGE_SIZE, Math.max(PAGE_SIZE, listed));
  await fetchPage({ limit }, ({ sessions: page }) => page);
}

/** Appends the next page. */
export async function listMore(): Promise<void> {
  const after = nextPage.value;
  if (after === null) return;

  const page = { limit: PAGE_SIZE, after };
  await fetchPage(page, ({ sessions: next }) => [...(sessions.value ?? []), ...next]);
}

/** Changes the filter: filters the list at once, and fetches it when the user pauses. */
export function setFilter(change: Partial<Filter>): void {
  filter.value = { ...filter.value, ...change };
  applyUpdate((list) => list);
  refreshSoon();
}

/** Removes the user's ended sessions that match the filter. */
export async function clearEnded(): Promise<void> {
  const ownEnded: Filter = { ...filter.value, state: "ended", everyone: false };
  const query = queryOf(ownEnded, me.value, { limit: MAX_PAGE_SIZE });

  try {
    const { sessions: ended } = await callApi<Page>("GET", `sessions?${query}`);
    // One at a time, because a burst of requests could exceed the rate limit.
    for (const { id } of ended) await connection.request("close_session", { session: id });

    const removed = new Set(ended.map(({ id }) => id));
    applyUpdate((list) => list.filter(({ id }) => !removed.has(id)));
  } catch (error) {
    notifyFailure("Could not remove all ended terminals.", error);
  }

  void refreshSessions();
}

/** Applies a change that the attachment received: it arrives before the topic's message. */
export function applyChange({ session, status, title, exit }: SessionChange): void {
  const change = {
    ...(status && { status }),
    ...(title !== undefined && { title }),
    ...(exit && { exit }),
  };
  applyUpdate((list) => list.map((info) => (info.id === session ? { ...info, ...change } : info)));
}

/** Starts a terminal. Returns its id; null after an error, which is shown. */
export async function createTerminal(
  size: { cols: number; rows: number },
  profile?: string,
): Promise<string | null> {
  try {
    const payload = { kind: "terminal", ...size, ...(profile !== undefined && { profile }) };
    const { session } = await connection.request("create_session", payload);
    applyUpdate(put(session));
    return session.id;
  } catch (error) {
    notifyFailure("Could not start the terminal.", error);
    return null;
  }
}

/** Starts a terminal in place of a lost one. Returns its id; null after an error, which is shown. */
export async function reviveSession(lost: string): Promise<string | null> {
  try {
    const { session } = await connection.request("revive_session", { session: lost });
    applyUpdate(put(session));
    return session.id;
  } catch (error) {
    notifyFailure("Could not start the terminal again.", error);
    return null;
  }
}

/** Ends a session's program and removes it from the list. Returns `true` if it succeeded. */
export async function closeSession(id: string): Promise<boolean> {
  try {
    await connection.request("close_session", { session: id });
    applyUpdate(remove(id));
    return true;
  } catch (error) {
    notifyFailure("Could not close the terminal.", error);
    void refreshSessions();
    return false;
  }
}

async function fetchPage(
  page: { limit: number; after?: string },
  merge: (page: Page) => SessionInfo[],
): Promise<void> {
  if (!me.value) return;

  // Both may change before the reply arrives.
  const [user, requested] = [me.value, filter.value];
  const request = ++lastRequest;
  const updates: ListUpdate[] = [];
  pendingUpdates.add(updates);

  try {
    const reply = await callApi<Page>("GET", `sessions?${queryOf(requested, user, page)}`);
    // Another user, another filter, or the reply to a later request arrived first.
    if (request < lastReply || me.value !== user || filter.value !== requested) return;

    lastReply = request;
    nextPage.value = reply.next;
    sessions.value = updates.reduce((list, update) => update(list), sorted(merge(reply)));
  } catch {
    // The connection's status shows that the server cannot be reached.
  } finally {
    pendingUpdates.delete(updates);
  }
}

function handleMessage({ event, data }: TopicMessage): void {
  const session = data as SessionInfo;

  if (event === "created") applyUpdate(put(session));
  else if (event === "removed") applyUpdate(remove(session.id));
  else if (event === "changed") {
    // Only listed sessions change: the message may follow the session's removal.
    applyUpdate((list) => list.map((info) => (info.id === session.id ? session : info)));

    const isListed = sessions.value?.some(({ id }) => id === session.id);
    const isNewMatch = !isListed && filter.value !== unfiltered && matches(session, filter.value);
    if (isNewMatch) refreshSoon();
  }
}

function applyUpdate(update: ListUpdate): void {
  const filtered: ListUpdate = (list) =>
    update(list).filter((session) => matches(session, filter.value));
  // Replies under way may be older than this update.
  for (const updates of pendingUpdates) updates.push(filtered);
  if (sessions.value !== null) sessions.value = filtered(sessions.value);

  const open = unlisted.value;
  if (open !== null) unlisted.value = update([open]).find(({ id }) => id === open.id) ?? null;
}

function put(session: SessionInfo): ListUpdate {
  return (list) => sorted([...list.filter(({ id }) => id !== session.id), session]);
}

function remove(removed: string): ListUpdate {
  return (list) => list.filter(({ id }) => id !== removed);
}

/** Sorts like the server. Drops repeats: a session created between two requests is in both pages. */
function sorted(list: SessionInfo[]): SessionInfo[] {
  const terminals = list.filter(({ kind }) => kind === "terminal");
  const byId = new Map(terminals.map((session) => [session.id, session]));

  return [...byId.values()].sort(
    (one, other) => other.created_at - one.created_at || (one.id < other.id ? 1 : -1),
  );
}

function refreshSoon(): void {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(() => void refreshSessions(), REFRESH_DELAY_MS);
}

async function refreshProfiles(): Promise<void> {
  const reply = await callApi<{ profiles: string[] }>("GET", "profiles").catch(() => null);
  if (reply !== null) profiles.value = reply.profiles;
}

function refreshEveryone(): void {
  if (filter.value.everyone && document.visibilityState === "visible") void refreshSessions();
}

async function refreshUnlisted(id: string): Promise<void> {
  const path = `sessions/${encodeURIComponent(id)}`;
  // The attachment reports a missing session.
  const info = await callApi<SessionInfo>("GET", path).catch(() => null);
  if (openSession.value === id) unlisted.value = info;
}

connection.on("open", () => void refreshProfiles());

// The list is fetched once the topic is subscribed, so no change is lost in between.
const changes = new Topic(connection, "@sessions");
changes.on("message", handleMessage);
changes.on("subscribed", () => void refreshSessions());
changes.on("gap", () => void refreshSessions());
changes.on("failed", () => void refreshSessions());

let listedUser: string | undefined;
effect(() => {
  const user = me.value?.user_id;
  if (user === listedUser) return;

  listedUser = user;
  sessions.value = null;
  nextPage.value = null;
  filter.value = unfiltered;
});

let requestedUnlisted: string | null = null;
effect(() => {
  const id = openSession.value;
  const isListed = sessions.value === null || sessions.value.some((session) => session.id === id);

  if (id === null || isListed) requestedUnlisted = null;
  else if (requestedUnlisted !== id) {
    requestedUnlisted = id;
    void refreshUnlisted(id);
  }
});

setInterval(refreshEveryone, EVERYONE_REFRESH_MS);
document.addEventListener("visibilitychange", refreshEveryone);
