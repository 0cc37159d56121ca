// A terminal session that a program follows across reconnects.

import { Backoff } from "./backoff.js";
import { type BinaryMessage, encodeBinary } from "./binary.js";
import type { ErrorCode } from "./codes.js";
import type { Connection } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import { type InputPiece, InputQueue } from "./input-queue.js";
import type {
  Attached,
  HistoryPage,
  HistoryQuery,
  HistoryRange,
  Requests,
  Role,
  ServerMessage,
  SessionChange,
  Signal,
} from "./messages.js";
import { ParsedCounter } from "./parsed-counter.js";
import { randomId } from "./random-id.js";
import type { Reply } from "./requester.js";

/** The output that the server sends ahead of the screen. A stuck screen takes no more memory. */
const WINDOW_BYTES = 192 * 1024;

/** Errors of input that is sent again. Its numbers prevent a repeated key. */
const TEMPORARY_INPUT_ERRORS = new Set<string>([
  "input_full",
  "input_out_of_order",
  "rate_limited",
] satisfies ErrorCode[]);
const FIRST_RESEND_MS = 250;
const MAX_RESEND_MS = 4_000;
const RESIZE_RETRY_MS = 500;

export interface TerminalOptions {
  role?: Role;
  /** The size of the local screen. The session's own size may differ. */
  cols?: number;
  rows?: number;
  /** The id by which the server detects repeated input. Default: random. */
  writer?: string;
}

/** A piece of output. */
export interface Chunk {
  bytes: Uint8Array;
  /** Call it once the bytes are on the screen. The server sends only a window ahead of it. */
  parsed: () => void;
}

/** The visible screen. */
export interface Snapshot extends Chunk {
  /** The lines above the screen, which `Terminal.history` returns. Null if unknown. */
  history: HistoryRange | null;
}

export interface TerminalEvents {
  /** Attached. Every verdict but `resumed` is followed by a snapshot. */
  attached: Attached;
  /** The whole state of the terminal: clear the screen, then write the bytes. */
  snapshot: Snapshot;
  output: Chunk;
  /** A change of the session, ordered with the output. */
  session: SessionChange;
  /** Not attached for now: the connection was lost. */
  lost: undefined;
  /** The server refused. The next attempt is on the next connection. */
  failed: RejoinError;
}

/** An attachment to a terminal session, renewed after each reconnect. */
export class Terminal {
  readonly session: string;
  readonly writer: string;
  readonly #connection: Connection;
  readonly #emitter = new Emitter<TerminalEvents>();
  readonly #input = new InputQueue();
  readonly #backoff = new Backoff();
  readonly #role: Role | undefined;
  readonly #unsubscribe: Unsubscribe[];
  /** Null while not attached. */
  #attached: Attached | null = null;
  /** Identifies the current attach, so that replies to earlier ones are ignored. */
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #resend: ReturnType<typeof setTimeout> | undefined;
  /** Doubles with each resend until input is acknowledged. */
  #resendMs = FIRST_RESEND_MS;
  #resizeRetry: ReturnType<typeof setTimeout> | undefined;
  #size: { cols: number; rows: number } | null = null;
  #epoch: string | null = null;
  /** The offset of the next output; null until the first snapshot. */
  #offset: number | null = null;
  /** The lines above the next snapshot. */
  #history: HistoryRange | null = null;
  /** Null while not attached, and with a server that expects no acknowledgements. */
  #parsed: ParsedCounter | null = null;
  #ended = false;
  #detached = false;

  /** Attaches to the session. */
  constructor(connection: Connection, session: string, options: TerminalOptions = {}) {
    this.#connection = connection;
    this.session = session;
    this.writer = options.writer ?? randomId();
    this.#role = options.role;
    if (options.cols !== undefined && options.rows !== undefined) {
      this.#size = { cols: options.cols, rows: options.rows };
    }

    this.#unsubscribe = [
      connection.on("open", () => this.#attach()),
      connection.on("lost", () => this.#handleLost()),
      connection.on("message", (message) => this.#receiveMessage(message)),
      connection.on("binary", (message) => this.#receiveBinary(message)),
    ];
    // Deferred, so that the caller can add its listeners first.
    queueMicrotask(() => this.#attach());
  }

  /** Calls `listener` for each event. Returns a function that removes it. */
  on<Name extends keyof TerminalEvents>(
    name: Name,
    listener: (value: TerminalEvents[Name]) => void,
  ): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** The position to resume at; null before the first snapshot. */
  get position(): string | null {
    // The only position that a client writes itself, because only the client knows the number of
    // bytes that it has processed.
    return this.#epoch === null || this.#offset === null ? null : `${this.#epoch}.${this.#offset}`;
  }

  /** Bytes of input that the program has not received yet. */
  get pendingInputBytes(): number {
    return this.#input.bytes;
  }

  /** Types into the terminal. A reconnect neither loses nor repeats input. */
  input(data: string | Uint8Array): void {
    if (this.#ended || this.#role === "viewer" || this.#attached?.role === "viewer") return;

    this.#input.push(typeof data === "string" ? new TextEncoder().encode(data) : data);
    this.#sendInput();
  }

  /** Reports the size of the local screen. The client that typed last sets the session's size. */
  resize(cols: number, rows: number): void {
    if (this.#size?.cols === cols && this.#size.rows === rows) return;

    this.#size = { cols, rows };
    clearTimeout(this.#resizeRetry);
    this.#sendSize();
  }

  /** Sends a signal to the program. Rejects with a `RejoinError`. */
  async signal(signal: Signal): Promise<void> {
    await this.#connection.request("signal", { session: this.session, signal });
  }

  /**
   * Returns lines above the screen, the newest before `before`. Rejects with a `RejoinError`.
   *
   * Start at the `end` of a snapshot's range, with its generation. The next older page ends at the
   * `from` of the page.
   */
  history(query: HistoryQuery = {}): Promise<HistoryPage> {
    return this.#connection.request("history", { session: this.session, ...query });
  }

  /** Detaches. The session continues. */
  detach(): void {
    this.#detached = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    clearTimeout(this.#retry);
    clearTimeout(this.#resend);
    clearTimeout(this.#resizeRetry);

    this.#input.clear();
    this.#leaveStream();
  }

  #attach(): void {
    if (this.#detached || this.#attached !== null) return;
    if (this.#connection.state.name !== "connected") return;

    clearTimeout(this.#retry);
    const attempt = ++this.#attempt;
    const { position } = this;
    const payload: Requests["attach"]["payload"] = {
      session: this.session,
      writer: this.writer,
      window: WINDOW_BYTES,
      ...this.#size,
      ...(position !== null && { position }),
      ...(this.#role && { role: this.#role }),
    };

    this.#connection.sendRequest("attach", payload, (reply) => {
      if (attempt === this.#attempt) this.#handleAttachReply(reply);
    });
  }

  #handleAttachReply(reply: Reply): void {
    if (reply.ok) {
      this.#start(reply.payload as Attached);
      return;
    }

    // The next connection attaches again.
    if (this.#connection.state.name !== "connected") return;

    const { error } = reply;
    if (error.retryable) this.#retry = setTimeout(() => this.#attach(), this.#backoff.next());
    else this.#emitter.emit("failed", error);
  }

  #start(attached: Attached): void {
    this.#backoff.reset();
    this.#attached = attached;
    const { stream, window } = attached;
    const acknowledge = (count: number) => {
      // The count of an earlier attach means nothing to the present one.
      if (this.#attached === attached) {
        this.#connection.sendBinary(encodeBinary("parsed", stream, count));
      }
    };
    this.#parsed = window === undefined ? null : new ParsedCounter(window, acknowledge);
    this.#epoch = attached.position.slice(0, attached.position.lastIndexOf("."));
    // Output before the snapshot belongs to a state that the screen does not have.
    if (attached.verdict !== "resumed") this.#offset = null;

    this.#emitter.emit("attached", attached);
    if (hasEnded(attached.status)) this.#end();

    for (const piece of this.#input.resume(attached.input_seq)) this.#sendPiece(piece);
    this.#sendInput();
  }

  #receiveBinary(message: BinaryMessage): void {
    if (message.stream !== this.#attached?.stream) return;

    switch (message.kind) {
      case "output":
        this.#receiveOutput(message);
        break;
      case "snapshot":
        this.#offset = message.offset;
        this.#emitter.emit("snapshot", {
          bytes: message.bytes,
          parsed: this.#parsedCallback(message),
          history: this.#history,
        });
        break;
      case "input_ack":
        this.#input.acknowledge(message.offset);
        // The program reads again, so later errors start at the short delay.
        this.#resendMs = FIRST_RESEND_MS;
        this.#sendInput();
        break;
      case "input":
      case "parsed":
        // Only clients send these.
        break;
    }
  }

  #receiveOutput(message: BinaryMessage): void {
    const { offset, bytes } = message;
    const known = this.#offset === null ? bytes.length : this.#offset - offset;
    if (known < 0) {
      // A gap would corrupt the screen from here on. Attaching again fetches the missing output.
      this.#leaveStream();
      this.#attach();
      return;
    }

    const parsed = this.#parsedCallback(message);
    const unknown = known === 0 ? bytes : bytes.subarray(known);
    if (unknown.length === 0) {
      parsed();
      return;
    }

    this.#offset = offset + bytes.length;
    this.#emitter.emit("output", { bytes: unknown, parsed });
  }

  /** Returns the function that counts a message as parsed, once. */
  #parsedCallback({ bytes }: BinaryMessage): () => void {
    let counter = this.#parsed;
    return () => {
      // The bytes are a view of the whole message.
      counter?.add(bytes.buffer.byteLength);
      counter = null;
    };
  }

  #receiveMessage(message: ServerMessage): void {
    if (this.#attached === null) return;

    if (message.type === "session" && message.payload.session === this.session) {
      const { status, history } = message.payload;
      if (history !== undefined) this.#history = history;
      this.#emitter.emit("session", message.payload);
      if (status !== undefined && hasEnded(status)) this.#end();
    } else if (message.type === "error" && TEMPORARY_INPUT_ERRORS.has(message.payload.code)) {
      this.#scheduleResend();
    }
  }

  /** Schedules one resend for any number of errors: one refused input fails all later ones. */
  #scheduleResend(): void {
    this.#resend ??= setTimeout(() => {
      this.#resend = undefined;
      this.#resendMs = Math.min(MAX_RESEND_MS, 2 * this.#resendMs);
      for (const piece of this.#input.inFlight) this.#sendPiece(piece);
      // An acknowledgement may have been refused as well.
      this.#parsed?.resend();
    }, this.#resendMs);
  }

  #sendInput(): void {
    if (this.#attached === null || this.#attached.role === "viewer") return;

    for (const piece of this.#input.take()) this.#sendPiece(piece);
  }

  #sendPiece({ seq, bytes }: InputPiece): void {
    if (this.#attached === null) return;

    this.#connection.sendBinary(encodeBinary("input", this.#attached.stream, seq, bytes));
  }

  #sendSize(): void {
    if (this.#attached === null || this.#size === null) return;

    const payload = { session: this.session, ...this.#size };
    this.#connection.sendRequest("resize", payload, (reply) => {
      // Each attach sends the size, so only an error while attached needs a retry.
      if (reply.ok || !reply.error.retryable || this.#attached === null) return;

      this.#resizeRetry = setTimeout(() => this.#sendSize(), RESIZE_RETRY_MS);
    });
  }

  #end(): void {
    this.#ended = true;
    this.#input.clear();
  }

  /** Detaches from the stream. The terminal itself may attach again later. */
  #leaveStream(): void {
    this.#attempt += 1;
    if (this.#attached === null) return;

    this.#attached = null;
    this.#connection.sendRequest("detach", { session: this.session }, () => {});
  }

  #handleLost(): void {
    this.#attempt += 1;
    clearTimeout(this.#retry);
    clearTimeout(this.#resizeRetry);
    this.#attached = null;
    this.#emitter.emit("lost", undefined);
  }
}

function hasEnded(status: Attached["status"]): boolean {
  return status === "terminated" || status === "error";
}
