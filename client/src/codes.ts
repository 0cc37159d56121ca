// The close codes and error codes of the protocol.
// Generated from crates/rejoin-protocol/src/code.rs by `cargo xtask codegen`: do not edit.

/** The reasons for a close, and whether a client reconnects. */
export const CLOSE_CODES = [
  { code: 1000, name: "normal", reconnect: false, description: "The client closed the connection." },
  { code: 1002, name: "protocol_violation", reconnect: false, description: "A frame broke RFC 6455, for example it was not masked." },
  { code: 1007, name: "invalid_text", reconnect: false, description: "A text message was not UTF-8." },
  { code: 1009, name: "message_too_big", reconnect: false, description: "A message was longer than `limits.max_message_bytes`." },
  { code: 4000, name: "draining", reconnect: true, description: "The server is stopping; reconnect after the time in `closing`." },
  { code: 4001, name: "heartbeat_missed", reconnect: true, description: "The server received nothing from the client for two heartbeat intervals, not even a pong." },
  { code: 4002, name: "too_slow", reconnect: true, description: "The client read or wrote too slowly: replies or a snapshot stayed unread, or a message stayed incomplete." },
  { code: 4003, name: "rate_limited", reconnect: true, description: "The client kept exceeding its rate limits." },
  { code: 4004, name: "overloaded", reconnect: true, description: "The server cannot accept the connection now." },
  { code: 4005, name: "internal", reconnect: true, description: "The server failed to handle a message; the cause is in its log." },
  { code: 4500, name: "authentication_failed", reconnect: false, description: "The token was refused." },
  { code: 4501, name: "authentication_timed_out", reconnect: false, description: "The client did not send `authenticate` within `limits.auth_timeout`." },
  { code: 4502, name: "token_expired", reconnect: false, description: "The token has expired; log in again." },
  { code: 4503, name: "forbidden", reconnect: false, description: "The token does not allow this connection." },
  { code: 4504, name: "disconnected", reconnect: false, description: "An administrator, or the user from another device, ended the connection." },
  { code: 4505, name: "protocol_error", reconnect: false, description: "A binary message had an invalid header or arrived before `authenticate`." },
  { code: 4506, name: "connection_limit", reconnect: false, description: "The user has reached `limits.max_connections_per_user`." },
] as const;

/** The reasons for an error, and whether a retry can succeed. */
export const ERROR_CODES = [
  { code: "malformed_json", number: 100, retryable: false, description: "The message is not a JSON object with a `type`." },
  { code: "missing_field", number: 101, retryable: false, description: "A required field is missing." },
  { code: "invalid_field", number: 102, retryable: false, description: "A field has the wrong type or a value that is not allowed." },
  { code: "unknown_type", number: 103, retryable: false, description: "No message type or handler has this name." },
  { code: "not_authenticated", number: 200, retryable: false, description: "The first message must be `authenticate`." },
  { code: "authentication_failed", number: 201, retryable: false, description: "The token is malformed, unsigned, forged or issued for another audience." },
  { code: "authentication_timed_out", number: 202, retryable: false, description: "The client did not send `authenticate` in time." },
  { code: "token_expired", number: 203, retryable: false, description: "The token has expired or is not valid yet." },
  { code: "already_authenticated", number: 204, retryable: false, description: "The connection is already authenticated and keeps its user." },
  { code: "keys_unavailable", number: 205, retryable: true, description: "The issuer's keys cannot be fetched now, so no token can be verified." },
  { code: "token_revoked", number: 206, retryable: false, description: "The token was revoked by an administrator." },
  { code: "forbidden", number: 300, retryable: false, description: "The token does not allow this." },
  { code: "connection_limit", number: 301, retryable: false, description: "The user has reached the limit of connections." },
  { code: "too_many_subscriptions", number: 302, retryable: false, description: "The connection has reached the limit of subscriptions and attachments." },
  { code: "too_many_topics", number: 303, retryable: true, description: "The limit of topics is reached, in total or for this user." },
  { code: "too_many_sessions", number: 304, retryable: true, description: "The user has reached the limit of sessions." },
  { code: "too_many_tickets", number: 305, retryable: true, description: "The limit of unused tickets is reached." },
  { code: "key_reused", number: 306, retryable: false, description: "The idempotency key was used for a different request." },
  { code: "unknown_session", number: 400, retryable: false, description: "No session with this id is accessible to you." },
  { code: "unknown_topic", number: 401, retryable: false, description: "No reserved topic has this name; names that begin with `@` are reserved." },
  { code: "unknown_profile", number: 402, retryable: false, description: "The configuration has no profile with this name." },
  { code: "not_attached", number: 403, retryable: false, description: "The connection is not attached to the session; attach first." },
  { code: "not_subscribed", number: 404, retryable: false, description: "The connection is not subscribed to this topic." },
  { code: "read_only", number: 405, retryable: false, description: "A viewer cannot type, resize or close the session." },
  { code: "session_ended", number: 406, retryable: false, description: "The session's program has ended." },
  { code: "start_failed", number: 407, retryable: false, description: "The profile's command could not be started." },
  { code: "input_full", number: 408, retryable: true, description: "The program does not read its input and the input queue is full; try again later." },
  { code: "input_out_of_order", number: 409, retryable: true, description: "An earlier numbered input is missing; resend from that number." },
  { code: "unknown_connection", number: 410, retryable: false, description: "No connection with this id is accessible to you." },
  { code: "not_found", number: 411, retryable: false, description: "Nothing exists at this path." },
  { code: "method_not_allowed", number: 412, retryable: false, description: "The path does not support this method." },
  { code: "session_exists", number: 413, retryable: false, description: "A session with this id already exists." },
  { code: "session_not_lost", number: 414, retryable: false, description: "The session's program was not lost, or another session replaces it already." },
  { code: "overloaded", number: 500, retryable: true, description: "The server has reached a limit; try again later." },
  { code: "internal", number: 501, retryable: true, description: "The server failed; the cause is in its log." },
  { code: "rate_limited", number: 502, retryable: true, description: "Too many requests in a short time; try again later." },
  { code: "timed_out", number: 503, retryable: true, description: "The request was not completed in time; try again later." },
] as const;

/** The code of a close frame from the server. */
export type CloseCode = (typeof CLOSE_CODES)[number]["code"];

/** The code of an error response. */
export type ErrorCode = (typeof ERROR_CODES)[number]["code"];
