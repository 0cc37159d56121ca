// States and times in words.

import type { SessionInfo, SessionStatus } from "rejoin";

export function hasEnded(status: SessionStatus): boolean {
  return status === "terminated" || status === "error";
}

export function howItEnded({ status, exit, reason }: Pick<SessionInfo, "status" | "exit" | "reason">): string {
  if (exit?.signal) return `ended by ${exit.signal}`;
  if (exit?.code !== null && exit?.code !== undefined) return `ended with code ${exit.code}`;
  if (status === "error") return reason ? `failed: ${reason}` : "failed";
  return "ended";
}

/** How long ago, in one unit. */
export function age(since: number, now: number): string {
  const minutes = Math.floor(Math.max(0, now - since) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** Each browser also names those that it came after, and each system what it is made of: the first counts. */
const BROWSERS = [
  ["Edg", "Edge"],
  ["OPR", "Opera"],
  ["Firefox", "Firefox"],
  ["Chrome", "Chrome"],
  ["Version", "Safari"],
] as const;
const SYSTEMS = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"] as const;

/** A program, as its user agent names it: the browser and its system, or the first word. */
export function shortAgent(agent: string | null): string {
  if (!agent) return "Unknown program";
  const browser = browserOf(agent);
  if (browser === undefined) return agent.split(/[\s(;]/)[0] || agent;
  return [`${browser.name} ${browser.version}`, systemOf(agent)].filter(Boolean).join(" on ");
}

/** What this browser is called among the devices. */
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

/** The server's messages are made to follow a colon. */
export function asSentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
