// Texts for states, times and user agents.

import type { SessionInfo, SessionStatus } from "rejoin";

export function hasEnded(status: SessionStatus): boolean {
  return status === "terminated" || status === "error";
}

/** Returns the end of a session in words, such as `exited with code 3`. */
export function exitText({
  status,
  exit,
  reason,
  lost,
}: Pick<SessionInfo, "status" | "exit" | "reason" | "lost">): string {
  // The open session has the reason.
  if (lost) return "lost";
  if (status === "terminated" && reason) return `ended: ${reason}`;
  if (exit?.signal) return `ended by ${exit.signal}`;
  if (exit?.code !== null && exit?.code !== undefined) return `exited with code ${exit.code}`;
  if (status === "error") return reason ? `failed: ${reason}` : "failed";
  return "ended";
}

/** Returns the time since `since` in one unit, such as `3 h`. */
export function age(since: number, now: number): string {
  const minutes = Math.floor(Math.max(0, now - since) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min`;

  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** Returns the time until `until` in one unit, rounded up, such as `12 min`. */
export function remaining(until: number, now: number): string {
  const minutes = Math.ceil(Math.max(0, until - now) / 60_000);
  if (minutes <= 1) return "1 min";
  if (minutes < 120) return `${minutes} min`;

  const hours = Math.ceil(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.ceil(hours / 24)} days`;
}

/** Browsers also name the browsers they imitate, and systems their bases: the first match counts. */
const BROWSERS = [
  ["Edg", "Edge"],
  ["OPR", "Opera"],
  ["Firefox", "Firefox"],
  ["Chrome", "Chrome"],
  ["Version", "Safari"],
] as const;
const SYSTEMS = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"] as const;

/** Shortens a user agent to browser and system, or else to its first word. */
export function shortAgent(agent: string | null): string {
  if (!agent) return "Unknown program";

  const browser = browserOf(agent);
  if (browser === undefined) return agent.split(/[\s(;]/)[0] || agent;
  return [`${browser.name} ${browser.version}`, systemOf(agent)].filter(Boolean).join(" on ");
}

/** Returns the name of this browser in the list of devices. */
export function deviceName(agent: string): string {
  return [browserOf(agent)?.name ?? "Browser", systemOf(agent)].filter(Boolean).join(" on ");
}

function browserOf(agent: string): { name: string; version: string } | undefined {
  for (const [mark, name] of BROWSERS) {
    const version = new RegExp(`${mark}/(\\d+)`).exec(agent)?.[1];
    if (version !== undefined) return { name, version };
  }

  return undefined;
}

function systemOf(agent: string): string | undefined {
  return SYSTEMS.find((system) => agent.includes(system))?.replace("Mac OS", "macOS");
}

/** Returns a message of the server, which starts in lower case, as a sentence. */
export function asSentence(text: string): string {
  const capitalized = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}
