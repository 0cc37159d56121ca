// Keeps a connection to a rejoin server: terminals and topics that survive reconnects.

export type { BinaryKind, BinaryMessage } from "./binary.js";
export { decodeBinary, encodeBinary } from "./binary.js";
export type { CloseCode, ErrorCode } from "./codes.js";
export { CLOSE_CODES, ERROR_CODES } from "./codes.js";
export type { Answer } from "./connection.js";
export { Connection } from "./connection.js";
export type { Unsubscribe } from "./emitter.js";
export type { LocalErrorCode } from "./errors.js";
export { RejoinError } from "./errors.js";
export type { ConnectionEvents, ConnectionState } from "./events.js";
export type {
  Attached,
  AuthRefused,
  AuthResult,
  Closing,
  ErrorPayload,
  Exit,
  OwnTopic,
  PresenceChange,
  PresenceState,
  Present,
  Requests,
  Role,
  ServerMessage,
  SessionChange,
  SessionInfo,
  SessionStatus,
  Signal,
  StreamStart,
  Subject,
  Subscribed,
  TokenExpiring,
  TopicGap,
  TopicMessage,
  Verdict,
} from "./messages.js";
export type { ConnectionOptions, TokenProvider } from "./options.js";
export type { Emitted, Missed } from "./own-streams.js";
export type { Presence } from "./presence.js";
export type { PublishOptions } from "./publishing.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export type { Chunk, TerminalEvents, TerminalOptions } from "./terminal.js";
export { Terminal } from "./terminal.js";
export type { TopicEvents } from "./topic.js";
export { Topic } from "./topic.js";
