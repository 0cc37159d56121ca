// What a connection tells of itself, and of what came over it.

import type { BinaryMessage } from "./binary.js";
import type { RejoinError } from "./errors.js";
import type { AuthResult, ServerMessage } from "./messages.js";
import type { Emitted, Missed } from "./own-streams.js";

export type ConnectionState =
  | { name: "new" }
  | { name: "connecting" }
  /** Entered again when the token was refreshed. */
  | { name: "connected"; auth: AuthResult }
  /** Lost; the next attempt is at `retryAt` (milliseconds since the epoch). */
  | { name: "waiting"; retryAt: number; code: number; reason: string }
  /** Ended for good: by `close()` (code null), or by a server that said not to come back. */
  | { name: "closed"; code: number | null; reason: string };

export interface ConnectionEvents {
  state: ConnectionState;
  /** Authenticated: what was attached and subscribed has to be asked for again. */
  open: AuthResult;
  lost: undefined;
  /** Said to this connection, its device, its user or everyone; once each, also across reconnects. */
  emitted: Emitted;
  /** Some of that is gone. */
  missed: Missed;
  /** The token ends soon, and there was no newer one, or it was refused: 4502 follows. */
  token_expiring: { expires_at: number; error: unknown };
  /** The server refuses what was no question, such as too much in too short a time. */
  error: RejoinError;
  /** What the server says unasked. Types that a newer server knows come too: ignore them. */
  message: ServerMessage;
  binary: BinaryMessage;
}
