// The states and events of a connection.

import type { BinaryMessage } from "./binary.js";
import type { RejoinError } from "./errors.js";
import type { AuthResult, ServerMessage } from "./messages.js";

export type ConnectionState =
  | { name: "new" }
  | { name: "connecting" }
  /** Authenticated. Entered again after a token refresh. */
  | { name: "connected"; auth: AuthResult }
  /** Lost. The next attempt starts at `retryAt`, in milliseconds since the epoch. */
  | { name: "waiting"; retryAt: number; code: number; reason: string }
  /** Ended for good: by `close()` (code null) or by a close code that forbids a reconnect. */
  | { name: "closed"; code: number | null; reason: string };

/** An event emitted to this connection, its device, its user or everyone. */
export interface Emitted {
  to: "all" | "user" | "device" | "connection";
  event: string;
  data: unknown;
  /** Milliseconds since the epoch. */
  time: number;
}

/** A gap in the emitted events. */
export interface Missed {
  to: "all" | "user" | "device";
  /** The number of lost events; null if unknown. */
  missed: number | null;
  reason: string;
}

/** The events of a connection, by name. */
export interface ConnectionEvents {
  state: ConnectionState;
  /** Authenticated. Attachments and subscriptions of the previous connection are gone. */
  open: AuthResult;
  /** The authenticated connection ended. */
  lost: undefined;
  /** Delivered exactly once, even across reconnects. */
  emitted: Emitted;
  missed: Missed;
  /** The token expires soon and could not be refreshed; a close with 4502 follows. */
  token_expiring: { expires_at: number; error: unknown };
  /** An error that replies to no request, such as `rate_limited`. */
  error: RejoinError;
  /** A message that replies to no request. Newer servers may send types unknown here. */
  message: ServerMessage;
  binary: BinaryMessage;
}
