// The close codes and error codes of the protocol.
// Generated from crates/rejoin-protocol/src/code.rs by `cargo xtask codegen`: do not edit.

/** Why a connection was closed, and whether to come back. */
export const CLOSE_CODES = [
  { code: 1000, name: "normal", reconnect: false, description: "The client closed the connection." },
  { code: 1002, name: "protocol_violation", reconnect: false, description: "A frame broke RFC 6455, for example it was not masked." },
  { code: 1007, name: "invalid_text", reconnect: false, description: "A text message was not UTF-8." },
  { code: 1009, name: "message_too_big", reconnect: false, description: "A message was longer than `limits.max_message_bytes`." },
  { code: 4000, name: "draining", reconnect: true, description: "The server is stopping; come back when it says." },
  { code: 4002, name: "too_slow", reconnect: true, description: "Replies were not read, and their queue was full." },
  { code: 4500, name: "authentication_failed", reconnect: false, description: "The token was refused." },
  { code: 4501, name: "authentication_timed_out", reconnect: false, description: "No `authenticate` came within `limits.auth_timeout`." },
  { code: 4502, name: "token_expired", reconnect: false, description: "The token has expired; log in again." },
  { code: 4505, name: "protocol_error", reconnect: false, description: "A binary message had no valid head, or came before `authenticate`." },
] as const;

/** Why a request was refused, and whether to try again. */
export const ERROR_CODES = [
  { code: "malformed_json", number: 100, retryable: false, description: "The message is not a JSON object with a `type`." },
  { code: "missing_field", number: 101, retryable: false, description: "A field that the type needs is missing." },
  { code: "invalid_field", number: 102, retryable: false, description: "A field has the wrong type or a value that is not allowed." },
  { code: "unknown_type", number: 103, retryable: false, description: "No message type or handler has this name." },
  { code: "not_authenticated", number: 200, retryable: false, description: "The first message must be `authenticate`." },
  { code: "authentication_failed", number: 201, retryable: false, description: "The token is malformed, unsigned, forged or made for somebody else." },
  { code: "authentication_timed_out", number: 202, retryable: false, description: "No `authenticate` came in time." },
  { code: "token_expired", number: 203, retryable: false, description: "The token has expired, or is not valid yet." },
  { code: "already_authenticated", number: 204, retryable: false, description: "The connection is authenticated; it keeps its user." },
  { code: "forbidden", number: 300, retryable: false, description: "The token does not allow this." },
  { code: "unknown_session", number: 400, retryable: false, description: "No session has this id, or it is not yours." },
  { code: "unknown_topic", number: 401, retryable: false, description: "The server has no topic of its own by this name; names with `@` are its own." },
  { code: "unknown_profile", number: 402, retryable: false, description: "The configuration has no profile by this name." },
  { code: "not_attached", number: 403, retryable: false, description: "Attach to the session first." },
  { code: "not_subscribed", number: 404, retryable: false, description: "The connection does not subscribe to this topic." },
  { code: "read_only", number: 405, retryable: false, description: "A viewer cannot type, resize or close." },
  { code: "session_ended", number: 406, retryable: false, description: "The session's program has ended." },
  { code: "start_failed", number: 407, retryable: false, description: "The profile's command could not be started." },
  { code: "input_full", number: 408, retryable: true, description: "The program does not read its input, and the queue is full." },
  { code: "input_out_of_order", number: 409, retryable: true, description: "A numbered input is missing before this one; send again from there." },
  { code: "overloaded", number: 500, retryable: true, description: "The server has as many connections as it may have; try again later." },
  { code: "internal", number: 501, retryable: true, description: "Something failed on the server; its log has the reason." },
] as const;

/** A number that the server closes a connection with. */
export type CloseCode = (typeof CLOSE_CODES)[number]["code"];

/** What the server answers instead of what was asked for. */
export type ErrorCode = (typeof ERROR_CODES)[number]["code"];
