// Binary messages of the protocol: a kind, two varints, bytes.

/** Ordered by wire number, which starts at 1. */
const KINDS = ["output", "input", "snapshot", "input_ack", "parsed"] as const;

export type BinaryKind = (typeof KINDS)[number];

/** A decoded binary message. */
export interface BinaryMessage {
  kind: BinaryKind;
  /** The stream number from `attached`, valid on one connection. */
  stream: number;
  /**
   * The stream offset of the first byte; for input and its acknowledgement, the input number; for
   * parsed output, the number of bytes.
   */
  offset: number;
  bytes: Uint8Array<ArrayBuffer>;
}

const EMPTY = new Uint8Array(0);

/** Encodes a binary message. Copies the bytes once. */
export function encodeBinary(
  kind: BinaryKind,
  stream: number,
  offset: number,
  bytes: Uint8Array = EMPTY,
): Uint8Array<ArrayBuffer> {
  const header = [KINDS.indexOf(kind) + 1];
  pushVarint(header, stream);
  pushVarint(header, offset);

  const message = new Uint8Array(header.length + bytes.length);
  message.set(header);
  message.set(bytes, header.length);
  return message;
}

/** Decodes a binary message; null if it is malformed. The bytes are a view, not a copy. */
export function decodeBinary(message: ArrayBuffer): BinaryMessage | null {
  const bytes = new Uint8Array(message);
  const kind = KINDS[(bytes[0] ?? 0) - 1];
  if (kind === undefined) return null;

  const stream = readVarint(bytes, 1);
  if (stream === null) return null;

  const offset = readVarint(bytes, stream.end);
  if (offset === null) return null;

  return { kind, stream: stream.value, offset: offset.value, bytes: bytes.subarray(offset.end) };
}

// Offsets exceed 32 bits. Division instead of shifts: bitwise operators would truncate them.
function pushVarint(into: number[], value: number): void {
  while (value >= 0x80) {
    into.push((value % 0x80) | 0x80);
    value = Math.floor(value / 0x80);
  }

  into.push(value);
}

/** Reads a varint; null if it is cut off or not a safe integer. */
function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } | null {
  let value = 0;
  let scale = 1;

  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (value > Number.MAX_SAFE_INTEGER) return null;
    if (byte < 0x80) return { value, end: at + 1 };

    scale *= 0x80;
  }

  return null;
}
