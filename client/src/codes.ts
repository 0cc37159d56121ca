// The close codes and error codes of the protocol.
// Generated from crates/rejoin-protocol/src/code.rs by `cargo xtask codegen`: do not edit.

/** Why a connection was closed, and whether to come back. */
export const CLOSE_CODES = [
  { code: 1000, name: "normal", reconnect: false, description: "The client closed the connection." },
  { code: 1002, name: "protocol_violation", reconnect: false, description: "A frame broke RFC 6455, for example it was not masked." },
  { code: 1007, name: "invalid_text", reconnect: false, description: "A text message was not UTF-8." },
  { code: 1009, name: "message_too_big", reconnect: false, description: "A message was longer than `limits.max_message_bytes`." },
  { code: 4000, name: "draining", reconnect: true, description: "The server is stopping; come back when it says." },
  { code: 4001, name: "heartbeat_missed", reconnect: true, description: "Nothing was heard from the client for two heartbeats, not even a pong." },
  { code: 4002, name: "too_slow", reconnect: true, description: "The client read or wrote too slowly: replies or a snapshot waited unread, or a message was never finished." },
  { code: 4003, name: "rate_limited", reconnect: true, description: "The client went on sending far beyond its limits." },
  { code: 4004, name: "overloaded", reconnect: true, description: "The server cannot take the connection now." },
  { code: 4005, name: "internal", reconnect: true, description: "The server failed to handle a message; its log has the reason." },
  { code: 4500, name: "authentication_failed", reconnect: false, description: "The token was refused." },
  { code: 4501, name: "authentication_timed_out", reconnect: false, description: "No `authenticate` came within `limits.auth_timeout`." },
  { code: 4502, name: "token_expired", reconnect: false, description: "The token has expired; log in again." },
  { code: 4503, name: "forbidden", reconnect: false, description: "The token does not allow this connection." },
  { code: 4504, name: "disconnected", reconnect: false, description: "An administrator, or the user from another device, ended the connection." },
  { code: 4505, name: "protocol_error", reconnect: false, description: "A binary message had no valid head, or came before `authenticate`." },
  { code: 4506, name: "connection_limit", reconnect: false, description: "The user has as many connections as `limits.max_connections_per_user` allows." },
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
  { code: "keys_unavailable", number: 205, retryable: true, description: "The issuer's keys cannot be fetched now, so no token can be verified." },
  { code: "token_revoked", number: 206, retryable: false, description: "The token was revoked by an administrator." },
  { code: "forbidden", number: 300, retryable: false, description: "The token does not allow this." },
  { code: "connection_limit", number: 301, retryable: false, description: "The user has as many connections as allowed." },
  { code: "too_many_subscriptions", number: 302, retryable: false, description: "The connection has as many subscriptions and attachments as allowed." },
  { code: "too_many_topics", number: 303, retryable: true, description: "There are as many topics as allowed, in all or of this user's making." },
  { code: "too_many_sessions", number: 304, retryable: true, description: "The user has as many sessions as allowed." },
  { code: "too_many_tickets", number: 305, retryable: true, description: "There are as many unused tickets as allowed." },
  { code: "key_reused", number: 306, retryable: false, description: "The idempotency key was used with another request." },
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
  { code: "unknown_connection", number: 410, retryable: false, description: "No connection has this id, or it is not yours." },
  { code: "not_found", number: 411, retryable: false, description: "There is nothing at this path." },
  { code: "method_not_allowed", number: 412, retryable: false, description: "The path does not take this method." },
  { code: "session_exists", number: 413, retryable: false, description: "A session with this id is there already." },
  { code: "overloaded", number: 500, retryable: true, description: "The server has as much as it may have; try again later." },
  { code: "internal", number: 501, retryable: true, description: "Something failed on the server; its log has the reason." },
  { code: "rate_limited", number: 502, retryable: true, description: "Too much was sent in too short a time; try again later." },
  { code: "timed_out", number: 503, retryable: true, description: "Whoever should have answered did not do so in time." },
] as const;

/** A number that the server closes a connection with. */
export type CloseCode = (typeof CLOSE_CODES)[number]["code"];

/** What the server answers instead of what was asked for. */
export type ErrorCode = (typeof ERROR_CODES)[number]["code"];
