// A client for rejoin servers: terminals and topics that survive reconnects.

export type { BinaryKind, BinaryMessage } from "./binary.js";
export { decodeBinary, encodeBinary } from "./binary.js";
export type { CloseCode, ErrorCode } from "./codes.js";
export { CLOSE_CODES, ERROR_CODES } from "./codes.js";
export { Connection } from "./connection.js";
export type { Unsubscribe } from "./emitter.js";
export type { LocalErrorCode } from "./errors.js";
export { RejoinError } from "./errors.js";
export type { ConnectionEvents, ConnectionState, Emitted, Missed } from "./events.js";
export type {
  Attached,
  AuthRefused,
  AuthResult,
  Closing,
  ErrorPayload,
  Exit,
  HistoryPage,
  HistoryQuery,
  HistoryRange,
  ImplicitTopic,
  PresenceChange,
  PresenceMember,
  PresenceState,
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
export type { Presence } from "./presence.js";
export type { PublishOptions } from "./publish-queue.js";
export type { Reply, ReplyListener } from "./requester.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export type { Chunk, Snapshot, TerminalEvents, TerminalOptions } from "./terminal.js";
export { Terminal } from "./terminal.js";
export type { TopicEvents } from "./topic.js";
export { Topic } from "./topic.js";
