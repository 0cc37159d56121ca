// The devices of the one who is logged in: their connections, and the browsers that are logged in.

import { effect, signal } from "@preact/signals";
import { RejoinError, type Unsubscribe } from "rejoin";
import { ask, logOut, me } from "./account";
import { connection } from "./link";
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
  /** Whether it is this browser's. */
  current: boolean;
}

export interface Device {
  id: string | null;
  name: string | null;
  connections: ConnectionInfo[];
  logIns: BrowserSession[];
}

/** Null until the first answer. */
export const connections = signal<ConnectionInfo[] | null>(null);
/** Null until the first answer. */
export const browserSessions = signal<BrowserSession[] | null>(null);
/** Whether there are more than are listed. */
export const moreConnections = signal(false);

const GONE_CODES = new Set<string>(["unknown_connection", "not_found"]);

let asking = false;
let askAgain = false;

/** Keeps the list fresh until it is stopped: whoever comes or goes is told by presence. */
export function followDevices(): Unsubscribe {
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

/** By device, this browser's first, then the one that came last. */
export function byDevice(list: ConnectionInfo[], logIns: BrowserSession[], here: string): Device[] {
  const devices = new Map<string | null, Device>();
  const found = (id: string | null, name: string | null) => {
    const device = devices.get(id) ?? { id, name, connections: [], logIns: [] };
    devices.set(id, device);
    return device;
  };
  const newestFirst = [...list].sort((one, other) => other.connected_at - one.connected_at);
  for (const info of newestFirst) found(info.device, info.device_name).connections.push(info);
  for (const logIn of logIns) found(logIn.device, logIn.device_name).logIns.push(logIn);
  const rank = ({ id }: Device) => (id === here ? 0 : id === null ? 2 : 1);
  return [...devices.values()].sort((one, other) => rank(one) - rank(other));
}

/** Logs a browser out, wherever it is. */
export async function logOutBrowser({ id, current }: BrowserSession): Promise<void> {
  const user = me.value?.user_id ?? "";
  if (current) await logOut();
  else {
    const path = `users/${encodeURIComponent(user)}/browser-sessions/${encodeURIComponent(id)}`;
    await end("The browser was not logged out.", () => ask("DELETE", path));
  }
}

export async function disconnect(id: string): Promise<void> {
  await end("The connection was not ended.", () => ask("DELETE", `connections/${encodeURIComponent(id)}`));
}

export async function disconnectDevice(device: string): Promise<void> {
  const user = me.value?.user_id ?? "";
  await end("The device was not disconnected.", () =>
    ask("POST", `users/${encodeURIComponent(user)}/disconnect`, { device }),
  );
}

async function end(otherwise: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    // What is gone already needs no end.
    if (!(error instanceof RejoinError && GONE_CODES.has(error.code))) notifyFailure(otherwise, error);
  }
  // A device that may still come back is no news to presence yet.
  void refreshConnections();
}

/** One question at a time: many may come and go at once. */
export async function refreshConnections(): Promise<void> {
  askAgain = asking;
  const user = me.value?.user_id;
  if (asking || user === undefined) return;
  asking = true;
  try {
    const path = `users/${encodeURIComponent(user)}`;
    const [answer, kept] = await Promise.all([
      ask<{ connections: ConnectionInfo[]; next: string | null }>("GET", `${path}/connections`),
      ask<{ browser_sessions: BrowserSession[] }>("GET", `${path}/browser-sessions`),
    ]);
    if (me.value?.user_id === user) {
      connections.value = answer.connections;
      moreConnections.value = answer.next !== null;
      browserSessions.value = kept.browser_sessions;
    }
  } catch (error) {
    if (error instanceof RejoinError) notifyFailure("The devices could not be listed.", error);
  }
  asking = false;
  if (askAgain) void refreshConnections();
}
