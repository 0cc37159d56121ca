// The user's devices: their connections and the browsers that are logged in.

import { effect, signal } from "@preact/signals";
import { RejoinError, type Unsubscribe } from "rejoin";
import { callApi, logOut, me } from "./account";
import { connection } from "./connection";
import { notifyFailure } from "./notices";

export interface ConnectionInfo {
  id: string;
  user: string;
  /** Null for connections that name no device. */
  device: string | null;
  device_name: string | null;
  role_context: string | null;
  address: string | null;
  user_agent: string | null;
  /** Milliseconds since the epoch. */
  connected_at: number;
  last_heard_at: number;
}

/** A browser that is logged in, connected or not. */
export interface BrowserSession {
  id: string;
  device: string | null;
  device_name: string | null;
  address: string | null;
  user_agent: string | null;
  /** Milliseconds since the epoch. */
  created_at: number;
  last_used_at: number;
  expires_at: number;
  /** True if it belongs to this browser. */
  current: boolean;
}

export interface Device {
  id: string | null;
  name: string | null;
  connections: ConnectionInfo[];
  browserSessions: BrowserSession[];
}

/** Null until the first reply. */
export const connections = signal<ConnectionInfo[] | null>(null);
/** Null until the first reply. */
export const browserSessions = signal<BrowserSession[] | null>(null);
/** True if `connections` is incomplete. */
export const moreConnections = signal(false);

const GONE_CODES = new Set<string>(["unknown_connection", "not_found"]);

let isRefreshing = false;
let refreshAgain = false;

/** Keeps the list up to date with the user's presence. Returns a function that stops it. */
export function watchDevices(): Unsubscribe {
  let stop: Unsubscribe = () => {};
  const stopEffect = effect(() => {
    const user = me.value?.user_id;
    stop();
    stop = () => {};
    if (user === undefined) return;

    void refreshConnections();
    stop = connection.followPresence({ user }, () => void refreshConnections());
  });

  return () => {
    stopEffect();
    stop();
    connections.value = null;
    browserSessions.value = null;
  };
}

/** Groups by device: this browser first, then the latest connection, then unknown devices. */
export function groupByDevice(
  connections: ConnectionInfo[],
  browserSessions: BrowserSession[],
  here: string,
): Device[] {
  const devices = new Map<string | null, Device>();
  const deviceOf = (id: string | null, name: string | null) => {
    const device = devices.get(id) ?? { id, name, connections: [], browserSessions: [] };
    devices.set(id, device);
    return device;
  };

  const newestFirst = [...connections].sort((one, other) => other.connected_at - one.connected_at);
  for (const info of newestFirst) {
    deviceOf(info.device, info.device_name).connections.push(info);
  }

  for (const session of browserSessions) {
    deviceOf(session.device, session.device_name).browserSessions.push(session);
  }

  // The sort is stable, so the latest connection stays first within a rank.
  const rank = ({ id }: Device) => (id === here ? 0 : id === null ? 2 : 1);
  return [...devices.values()].sort((one, other) => rank(one) - rank(other));
}

/** Ends a browser session, of this browser or another one. */
export async function logOutBrowser({ id, current }: BrowserSession): Promise<void> {
  if (current) {
    // Not only ended: the server also removes the cookie of this browser.
    await logOut();
    return;
  }

  const path = `${userPath()}/browser-sessions/${encodeURIComponent(id)}`;
  await change("Could not log out the browser.", () => callApi("DELETE", path));
}

export async function disconnect(id: string): Promise<void> {
  const path = `connections/${encodeURIComponent(id)}`;
  await change("Could not disconnect.", () => callApi("DELETE", path));
}

export async function disconnectDevice(device: string): Promise<void> {
  const path = `${userPath()}/disconnect`;
  await change("Could not disconnect the device.", () => callApi("POST", path, { device }));
}

async function change(failure: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const isGone = error instanceof RejoinError && GONE_CODES.has(error.code);
    if (!isGone) notifyFailure(failure, error);
  }

  // Presence reports a lost device only after its grace period.
  void refreshConnections();
}

/** Fetches the list. Calls during a request cause one more request after it. */
export async function refreshConnections(): Promise<void> {
  refreshAgain = isRefreshing;
  const user = me.value?.user_id;
  if (isRefreshing || user === undefined) return;

  isRefreshing = true;
  try {
    const path = userPath();
    const [page, logins] = await Promise.all([
      callApi<{ connections: ConnectionInfo[]; next: string | null }>("GET", `${path}/connections`),
      callApi<{ browser_sessions: BrowserSession[] }>("GET", `${path}/browser-sessions`),
    ]);

    // The user may have changed during the request.
    if (me.value?.user_id === user) {
      connections.value = page.connections;
      moreConnections.value = page.next !== null;
      browserSessions.value = logins.browser_sessions;
    }
  } catch (error) {
    if (error instanceof RejoinError) notifyFailure("Could not load the devices.", error);
  }

  isRefreshing = false;
  if (refreshAgain) void refreshConnections();
}

function userPath(): string {
  return `users/${encodeURIComponent(me.value?.user_id ?? "")}`;
}
