// The JSON messages of the protocol as types, and their parser.

import type { ErrorCode } from "./codes.js";

export type SessionStatus = "active" | "idle" | "terminated" | "error";
export type Role = "writer" | "viewer";

/**
 * The result of an attach or a subscribe.
 *
 * `fresh`: no position was sent. `resumed`: all missed frames follow. `snapshot`: frames are lost,
 * and the state of the terminal follows. `gap`: messages of the topic are lost.
 */
export type Verdict = "fresh" | "resumed" | "snapshot" | "gap";

/** The exit of a program. Both fields are null if it is unknown. */
export interface Exit {
  code: number | null;
  signal: string | null;
}

/** A session in a list. Times are milliseconds since the epoch. */
export interface SessionInfo {
  id: string;
  kind: string;
  profile: string;
  name: string | null;
  /** The title set by the program; empty if it set none. */
  title: string;
  owner: string;
  status: SessionStatus;
  cols: number;
  rows: number;
  size_owner?: string | null;
  connections: number;
  created_at: number;
  /** The time of the last change of the status or of the connections. */
  updated_at: number;
  last_activity_at: number;
  /** The time at which the session ends unless a connection attaches. */
  destroy_at?: number | null;
  exit?: Exit | null;
  /** The reason of the end, unless the program ended by itself and without an error. */
  reason?: string | null;
  /** True if the program was lost, for example with its machine: the session may be revived. */
  lost?: boolean;
  /** The lost session that this one replaces. */
  revived_from?: string | null;
  /** The session that replaces this one, whose program was lost. */
  revived_as?: string | null;
}

/** A successful authentication. */
export interface AuthResult {
  authenticated: true;
  user_id: string;
  connection_id: string;
  heartbeat_ms: number;
  /** Milliseconds since the epoch; null if the token does not expire. */
  expires_at: number | null;
  /** The start of each implicit stream. */
  streams?: Partial<Record<ImplicitTopic, StreamStart>>;
}

/** A refused `authenticate`. */
export interface AuthRefused {
  authenticated: false;
  error: ErrorPayload;
}

/** A stream that each connection reads without subscribing: everyone's, its user's, its device's. */
export type ImplicitTopic = "@all" | "@user" | "@device";

/** The start of a reader in a stream. */
export interface StreamStart {
  verdict: Verdict;
  /** The number of earlier messages that follow. */
  replayed: number;
  /** With a gap: the number of lost messages; null if unknown. */
  missed?: number | null;
  /** With a gap: its cause. */
  reason?: string;
  position: string;
}

/** A token that expires soon. The connection is then closed with 4502. */
export interface TokenExpiring {
  expires_at: number;
}

/** The reply to `attach`. */
export interface Attached {
  session: string;
  /** The session's number in the binary messages of this connection. */
  stream: number;
  role: Role;
  verdict: Verdict;
  /** With a snapshot: the cause, such as `retention`, `epoch` or `unknown_position`. */
  reason?: string;
  position: string;
  cols: number;
  rows: number;
  status: SessionStatus;
  title: string;
  /** The number of the last input that the session took from this writer. */
  input_seq: number;
  /** The connection that sets the session's size. */
  size_owner?: string | null;
  exit?: Exit | null;
  /** The number of oldest history lines that the following snapshot omits. */
  history_omitted?: number;
  /** The window of the attach, in bytes. Without it, the server expects no acknowledgements. */
  window?: number;
}

/** A change of a session, ordered with its output. */
export interface SessionChange {
  session: string;
  status?: SessionStatus;
  cols?: number;
  rows?: number;
  title?: string;
  size_owner?: string | null;
  exit?: Exit | null;
  reason?: string | null;
  /** Before a snapshot: the number of oldest history lines that it omits. */
  history_omitted?: number;
  /** Before a snapshot: the lines above it. */
  history?: HistoryRange;
}

/** The lines above a terminal's screen, numbered from the start of its life. */
export interface HistoryRange {
  /** The number of changes of columns. Line numbers of another generation are void. */
  generation: number;
  /** The number of the oldest line. */
  first: number;
  /** The number after the newest line: that of the first row of the screen. */
  end: number;
}

/** The lines to read. */
export interface HistoryQuery {
  /** The line before which the page ends. Default: it ends above the screen. */
  before?: number;
  /** The generation of `before`. */
  generation?: number;
  /** The most lines of the page: 1 to 1000. Default: 200. */
  lines?: number;
}

/** Consecutive lines above a terminal's screen. */
export interface HistoryPage extends HistoryRange {
  session: string;
  /** The number of the page's first line; the next older page ends there. */
  from: number;
  /** The number after the page's last line. */
  to: number;
  /** The number of columns for which the lines are drawn. */
  cols: number;
  /** True if the first row continues the line before the page. */
  continues: boolean;
  /** True if the generation has changed: the page is empty. A snapshot has the new range. */
  rewrapped: boolean;
  /** Draws the lines on an empty terminal with `cols` columns. */
  data: string;
}

/** A message of a topic or an implicit stream. */
export interface TopicMessage {
  topic: string;
  /** Absent for messages to a single connection, which are in no stream. */
  position?: string;
  /** The name of an emitted event. */
  event?: string;
  data: unknown;
  time: number;
}

/** A gap in a topic or an implicit stream. */
export interface TopicGap {
  topic: string;
  /** The number of lost messages; null if unknown. */
  missed: number | null;
  reason: string;
  position: string;
}

/** The reply to `subscribe`. */
export interface Subscribed extends StreamStart {
  topic: string;
}

/** The subject of a presence request. */
export type Subject = { topic: string } | { session: string } | { user: string };

/** A device of a present user. */
export interface PresenceMember {
  user: string;
  /** Null for connections that name no device. */
  device: string | null;
  device_name?: string;
  /** The number of connections; 0 during the grace period. */
  connections?: number;
}

/** The presence of a subject. */
export interface PresenceState {
  users: number;
  connections: number;
  /** The present devices of all users; absent for large groups. */
  members?: PresenceMember[];
  /** True if `members` is incomplete. */
  truncated?: boolean;
}

/** A change of presence. Has either `joined` or `left`. */
export interface PresenceChange {
  joined?: PresenceMember;
  left?: PresenceMember;
  /** True if it was the user's first device to join or last one to leave. */
  whole_user: boolean;
  /** The number of users after the change. */
  users: number;
  /** The number of connections after the change. */
  connections: number;
}

/** The announcement of a close. */
export interface Closing {
  code: number;
  reason: string;
  /** The delay before a reconnect; absent if a reconnect is pointless. */
  reconnect_after_ms?: number;
  /** The range of a random delay added to it, which spreads the reconnects of all clients. */
  window_ms?: number;
}

/** An error. */
export interface ErrorPayload {
  /** A code of `ERROR_CODES`, or a code of a newer server. */
  // `& {}` keeps the known codes in the completion of editors.
  code: ErrorCode | (string & {});
  message: string;
  retryable: boolean;
}

/** A signal for a session's program. */
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

/** The payloads of requests and their replies, by message type. */
export interface Requests {
  create_session: {
    payload: {
      kind: string;
      profile?: string;
      name?: string;
      cols?: number;
      rows?: number;
      cwd?: string;
    };
    reply: { session: SessionInfo };
  };
  attach: {
    payload: {
      session: string;
      position?: string;
      role?: Role;
      cols?: number;
      rows?: number;
      writer?: string;
      window?: number;
    };
    reply: Attached;
  };
  detach: { payload: { session: string }; reply: unknown };
  close_session: { payload: { session: string }; reply: unknown };
  revive_session: { payload: { session: string }; reply: { session: SessionInfo } };
  resize: { payload: { session: string; cols: number; rows: number }; reply: unknown };
  signal: { payload: { session: string; signal: Signal }; reply: unknown };
  history: { payload: { session: string } & HistoryQuery; reply: HistoryPage };
  subscribe: { payload: { topic: string; position?: string }; reply: Subscribed };
  unsubscribe: { payload: { topic: string }; reply: unknown };
  list_subscriptions: { payload: Record<string, never>; reply: { subscriptions: string[] } };
  publish: { payload: { topic: string; data: unknown; key?: string }; reply: { position: string } };
  refresh: { payload: { token: string }; reply: AuthResult };
  presence: { payload: Subject & { follow?: boolean }; reply: Subject & PresenceState };
  ping: { payload: Record<string, never>; reply: { time: number } };
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

/** A message that replies to no request. */
export type ServerMessage = {
  [Type in keyof ServerPayloads]: { type: Type; payload: ServerPayloads[Type] };
}[keyof ServerPayloads];

/** Any message of the server, with an unchecked type and payload. */
export interface Envelope {
  type: string;
  reply_to?: string;
  payload: unknown;
}

/** Parses a text message; null if it is malformed. */
export function parseMessage(text: string): Envelope | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }

  if (typeof value !== "object" || value === null) return null;

  const { type, reply_to, payload } = value as Partial<Record<keyof Envelope, unknown>>;
  if (typeof type !== "string") return null;

  if (reply_to === undefined || reply_to === null) return { type, payload: payload ?? {} };
  // The ids of pending requests are strings.
  return { type, reply_to: String(reply_to), payload: payload ?? {} };
}
