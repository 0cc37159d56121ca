// Random identifiers.

/** Returns 128 random bits in hexadecimal. */
export function randomId(): string {
  // Not `crypto.randomUUID`, which is missing on pages without TLS.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
