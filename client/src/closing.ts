// What a close means: its code, a sentence for people, and whether to come back.

import { CLOSE_CODES } from "./codes.js";
import type { Closing, ErrorPayload } from "./messages.js";

const NORMAL = 1000;

export interface Closed {
  code: number;
  reason: string;
  comesBack: boolean;
}

/** Judges a close by what the socket reports, and by what the server had said before it. */
export function judgeClose(
  socket: { code: number; reason: string },
  closing: Closing | null,
  refusal: ErrorPayload | null,
): Closed {
  // What was announced counts more than how the network carried it out.
  const code = socket.code < 4000 && closing !== null ? closing.code : socket.code;
  const known = CLOSE_CODES.find((row) => row.code === code);
  // The server's reasons are mostly the codes' names; people are better served with a sentence.
  const given = socket.reason !== known?.name ? socket.reason : "";
  const reason = refusal?.message || given || known?.description || "";
  // Codes that a newer server invented keep to the ranges; a normal end that nobody here asked
  // for comes from something in between.
  const comesBack = code === NORMAL || (known?.reconnect ?? (code < 4500 || code > 4999));
  return { code, reason, comesBack };
}
