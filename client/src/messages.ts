// The JSON messages of the protocol, as types, and the reading of them.

import type { ErrorCode } from "./codes.js";

export type SessionStatus = "active" | "idle" | "terminated" | "error";
export type Role = "writer" | "viewer";

/**
 * How an attach or a subscribe went: begun here, resumed without a loss, the state instead of what
 * is gone (terminals), or only what is left (topics).
 */
export type Verdict = "fresh" | "resumed" | "snapshot" | "gap";

/** How a program ended; both are null if nobody knows. */
export interface Exit {
  code: number | null;
  signal: string | null;
}

/** A session as lists show it. Times are milliseconds since the epoch. */
export interface SessionInfo {
  id: string;
  kind: string;
  profile: string;
  name: string | null;
  /** What its program calls itself; empty if it never said. */
  title: string;
  owner: string;
  status: SessionStatus;
  cols: number;
  rows: number;
  size_owner?: string | null;
  connections: number;
  created_at: number;
  last_activity_at: number;
  exit?: Exit | null;
  reason?: string | null;
}

export interface AuthResult {
  authenticated: true;
  user_id: string;
  connection_id: string;
  heartbeat_ms: number;
  /** Milliseconds since the epoch, or null for a token without an end. */
  expires_at: number | null;
  /** Where reading begins in the streams that each connection reads unasked. */
  streams?: Partial<Record<OwnTopic, StreamStart>>;
}

/** The answer to an `authenticate` that is refused. */
export interface AuthRefused {
  authenticated: false;
  error: ErrorPayload;
}

/** What is said to everyone, to the user, and to the device: read unasked, without a loss across reconnects. */
export type OwnTopic = "@all" | "@user" | "@device";

/** How the reading of a stream begins. */
export interface StreamStart {
  verdict: Verdict;
  /** How many messages follow that were there before. */
  replayed: number;
  /** With a gap: how many messages are gone, if that can be known, and why. */
  missed?: number | null;
  reason?: string;
  position: string;
}

/** A token that ends soon: the connection is closed then (4502). */
export interface TokenExpiring {
  expires_at: number;
}

export interface Attached {
  session: string;
  /** The session's number in binary messages, on this connection. */
  stream: number;
  role: Role;
  verdict: Verdict;
  /** With a snapshot: why there was no resume, such as `retention`, `epoch` or `unknown_position`. */
  reason?: string;
  position: string;
  cols: number;
  rows: number;
  status: SessionStatus;
  title: string;
  /** The last input that the session took from this writer. */
  input_seq: number;
  /** The connection whose size the session has. */
  size_owner?: string | null;
  exit?: Exit | null;
  /** Lines of the history, the oldest ones, that are not in the snapshot which follows. */
  history_omitted?: number;
}

/** A change of a session, in order with its output. */
export interface SessionChange {
  session: string;
  status?: SessionStatus;
  cols?: number;
  rows?: number;
  title?: string;
  size_owner?: string | null;
  exit?: Exit | null;
  reason?: string | null;
  /** Before a snapshot: lines of the history, the oldest ones, that are not in it. */
  history_omitted?: number;
}

export interface TopicMessage {
  topic: string;
  /** Absent in what is said to one connection, which is in no stream. */
  position?: string;
  /** In what was emitted: what it is about. */
  event?: string;
  data: unknown;
  time: number;
}

export interface TopicGap {
  topic: string;
  /** How many messages are gone, or null if nobody knows. */
  missed: number | null;
  reason: string;
  position: string;
}

export interface Subscribed extends StreamStart {
  topic: string;
}

/** What presence is about. */
export type Subject = { topic: string } | { session: string } | { user: string };

/** A device of a user, as presence shows it. */
export interface Present {
  user: string;
  /** Null for connections that name no device. */
  device: string | null;
  device_name?: string;
  /** How many connections it has there; 0 while it may still come back. */
  connections?: number;
}

/** Who is there. */
export interface PresenceState {
  users: number;
  connections: number;
  /** Each device that is there, by user; absent where there are too many. */
  members?: Present[];
  /** Whether there are more members than are listed. */
  truncated?: boolean;
}

/** A device that came or has gone; `joined` or `left` is there, not both. */
export interface PresenceChange {
  joined?: Present;
  left?: Present;
  /** Whether the user came with it, or is gone with it. */
  whole_user: boolean;
  /** How many are there after it. */
  users: number;
  connections: number;
}

/**
 * Said before the server closes: come back after so long, plus a random part of the window.
 * Both are absent if coming back is pointless.
 */
export interface Closing {
  code: number;
  reason: string;
  reconnect_after_ms?: number;
  window_ms?: number;
}

export interface ErrorPayload {
  /** One of the table's codes, or one that a newer server knows. */
  code: ErrorCode | (string & {});
  message: string;
  retryable: boolean;
}

/** What a session's program can be sent. */
export type Signal =
  | "SIGHUP"
  | "SIGINT"
  | "SIGQUIT"
  | "SIGTERM"
  | "SIGKILL"
  | "SIGUSR1"
  | "SIGUSR2"
  | "SIGTSTP"
  | "SIGCONT";

/** What can be asked, and what the answer to it carries. */
export interface Requests {
  create_session: {
    payload: { kind: string; profile?: string; name?: string; cols?: number; rows?: number; cwd?: string };
    answer: { session: SessionInfo };
  };
  attach: {
    payload: {
      session: string;
      position?: string;
      role?: Role;
      cols?: number;
      rows?: number;
      writer?: string;
    };
    answer: Attached;
  };
  detach: { payload: { session: string }; answer: unknown };
  close_session: { payload: { session: string }; answer: unknown };
  resize: { payload: { session: string; cols: number; rows: number }; answer: unknown };
  signal: { payload: { session: string; signal: Signal }; answer: unknown };
  subscribe: { payload: { topic: string; position?: string }; answer: Subscribed };
  unsubscribe: { payload: { topic: string }; answer: unknown };
  list_subscriptions: { payload: Record<string, never>; answer: { subscriptions: string[] } };
  publish: { payload: { topic: string; data: unknown; key?: string }; answer: { position: string } };
  refresh: { payload: { token: string }; answer: AuthResult };
  presence: { payload: Subject & { follow?: boolean }; answer: Subject & PresenceState };
  ping: { payload: Record<string, never>; answer: { time: number } };
}

interface ServerPayloads {
  auth_result: AuthResult | AuthRefused;
  message: TopicMessage;
  gap: TopicGap;
  session: SessionChange;
  presence: Subject & (PresenceState | PresenceChange);
  token_expiring: TokenExpiring;
  closing: Closing;
  error: ErrorPayload;
}

/** What the server says unasked. */
export type ServerMessage = {
  [Type in keyof ServerPayloads]: { type: Type; payload: ServerPayloads[Type] };
}[keyof ServerPayloads];

/** Any message of the server, before anybody looked at its type. */
export interface Envelope {
  type: string;
  reply_to?: string;
  payload: unknown;
}

/** Reads one text message; null if it is not one of the protocol's. */
export function readMessage(text: string): Envelope | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { type, reply_to, payload } = value as { type?: unknown; reply_to?: unknown; payload?: unknown };
  if (typeof type !== "string") return null;
  if (reply_to === undefined || reply_to === null) return { type, payload: payload ?? {} };
  return { type, reply_to: String(reply_to), payload: payload ?? {} };
}
