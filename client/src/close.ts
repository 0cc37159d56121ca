// The meaning of a close: its code, its reason, and whether to reconnect.

import { CLOSE_CODES } from "./codes.js";
import type { Closing, ErrorPayload } from "./messages.js";

/** The code that the server would send, for an attempt without a token. */
export const AUTHENTICATION_FAILED = 4500;
/** The code that WebSockets report for a connection that ends without a close frame. */
export const ABNORMAL = 1006;
const NORMAL = 1000;
/** Codes below it are set by WebSocket implementations, not by the server. */
const FIRST_SERVER_CODE = 4000;
const FIRST_FINAL_CODE = 4500;
const LAST_FINAL_CODE = 4999;

/** The interpretation of a close. */
export interface CloseVerdict {
  code: number;
  /** A sentence for users. */
  reason: string;
  reconnects: boolean;
}

/** Interprets a close from the socket's event and the messages that preceded it. */
export function interpretClose(
  socket: { code: number; reason: string },
  closing: Closing | null,
  refusal: ErrorPayload | null,
): CloseVerdict {
  // A network failure may replace the code of an announced close: the announcement wins.
  const code = socket.code < FIRST_SERVER_CODE && closing !== null ? closing.code : socket.code;

  const known = CLOSE_CODES.find((row) => row.code === code);
  // The server often sends only the code's name as the reason: the table has a sentence instead.
  const given = socket.reason !== known?.name ? socket.reason : "";
  const reason = refusal?.message || given || known?.description || "";

  // Codes of newer servers follow the ranges. This client did not ask for a normal close, so a
  // proxy in between ended the connection.
  const isFinal = known ? !known.reconnect : code >= FIRST_FINAL_CODE && code <= LAST_FINAL_CODE;
  return { code, reason, reconnects: code === NORMAL || !isFinal };
}
