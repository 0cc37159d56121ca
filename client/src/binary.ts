// The binary messages of the protocol: a kind, two varints, bytes.

/** In the order of their numbers, which begin at 1. */
const KINDS = ["output", "input", "snapshot", "input_ack"] as const;

export type BinaryKind = (typeof KINDS)[number];

export interface BinaryMessage {
  kind: BinaryKind;
  stream: number;
  /** Where the bytes begin in the stream; for input and its ack, the input's number. */
  offset: number;
  bytes: Uint8Array<ArrayBuffer>;
}

const EMPTY = new Uint8Array(0);

/** Writes a message; the bytes are copied once. */
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

/** Reads a message; null if it is not one of the protocol's. The bytes are a view, not a copy. */
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

// Offsets go beyond 32 bits, so there is no shifting here: bitwise operators would cut them off.
function pushVarint(into: number[], value: number): void {
  while (value >= 0x80) {
    into.push((value % 0x80) | 0x80);
    value = Math.floor(value / 0x80);
  }
  into.push(value);
}

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
