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

/** A program, as its user agent names it: the browser and its system, or the first word. */
export function shortAgent(agent: string | null): string {
  if (!agent) return "Unknown program";
  // Each browser also names those that it came after.
  const [, name, version] = /(Edg|OPR|Firefox|Chrome|Version)\/(\d+)/.exec(agent.replace(/Chrome(?=.*(Edg|OPR)\/)/, "")) ?? [];
  if (name === undefined) return agent.split(/[\s(;]/)[0] || agent;
  const browser = { Edg: "Edge", OPR: "Opera", Version: "Safari" }[name] ?? name;
  const system = /Android|iPhone|iPad|Windows|Mac OS|Linux/.exec(agent)?.[0];
  return `${browser} ${version}${system === undefined ? "" : ` on ${system.replace("Mac OS", "macOS")}`}`;
}

/** The server's messages are made to follow a colon. */
export function asSentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
