// A terminal session that this program follows, over any number of connections.

import { Backoff } from "./backoff.js";
import { type BinaryMessage, encodeBinary } from "./binary.js";
import type { ErrorCode } from "./codes.js";
import type { Answer, Connection } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import type { RejoinError } from "./errors.js";
import { InputQueue, type Piece } from "./input.js";
import type { Attached, Requests, Role, ServerMessage, SessionChange, Signal } from "./messages.js";
import { randomId } from "./random.js";

/** More than this not yet parsed: leave the stream, which goes on without us. */
const UNPARSED_HIGH_BYTES = 4 * 1024 * 1024;
/** Less than this not yet parsed: resume it. */
const UNPARSED_LOW_BYTES = 256 * 1024;

/** Not taken at the moment; numbered input may be sent again without harm. */
const REFUSED_INPUT = new Set<string>(["input_full", "input_out_of_order", "rate_limited"] satisfies ErrorCode[]);
const RESEND_MS = 250;
const LONGEST_RESEND_MS = 4_000;
const RESIZE_AGAIN_MS = 500;

export interface TerminalOptions {
  role?: Role;
  /** The size that could be shown here; the session's own may be another. */
  cols?: number;
  rows?: number;
  /** Numbered input is de-duplicated by this id; made anew unless given. */
  writer?: string;
}

export interface Chunk {
  bytes: Uint8Array;
  /** To be called when the bytes are on the screen: so long they count as a backlog. */
  parsed: () => void;
}

export interface TerminalEvents {
  /** Following; any verdict but `resumed` is followed by a snapshot. */
  attached: Attached;
  /** The whole state: clear the screen, then write the bytes. */
  snapshot: Chunk;
  output: Chunk;
  /** A change of the session, in order with the output. */
  session: SessionChange;
  /** Not following any more, for now. */
  lost: undefined;
  /** The server refuses; it is not asked again on this connection. */
  failed: RejoinError;
}

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
  /** Counts the attaches: an answer to an earlier one is not for us. */
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #resend: ReturnType<typeof setTimeout> | undefined;
  /** Doubles until something is acknowledged. */
  #resendMs = RESEND_MS;
  #resizing: ReturnType<typeof setTimeout> | undefined;
  #size: { cols: number; rows: number } | null = null;
  #epoch: string | null = null;
  /** Where the next output begins; null until a snapshot told. */
  #offset: number | null = null;
  #unparsedBytes = 0;
  #paused = false;
  #ended = false;
  #detached = false;

  /** Begins to follow the session: at once, and after each reconnect. */
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
      connection.on("lost", () => this.#lose()),
      connection.on("message", (message) => this.#hear(message)),
      connection.on("binary", (message) => this.#receive(message)),
    ];
    // Not within the constructor: nobody could listen to the events yet.
    queueMicrotask(() => this.#attach());
  }

  on<Name extends keyof TerminalEvents>(name: Name, listener: (value: TerminalEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(name, listener);
  }

  /** Where to resume; null before the first snapshot. */
  get position(): string | null {
    // The one position that a client writes: it alone knows how many bytes it has processed.
    return this.#epoch === null || this.#offset === null ? null : `${this.#epoch}.${this.#offset}`;
  }

  /** Bytes of input that the program has not been given yet. */
  get pendingInputBytes(): number {
    return this.#input.bytes;
  }

  /** Types. Nothing is lost or doubled by a reconnect. */
  input(data: string | Uint8Array): void {
    if (this.#ended || this.#role === "viewer" || this.#attached?.role === "viewer") return;
    this.#input.push(typeof data === "string" ? new TextEncoder().encode(data) : data);
    this.#pump();
  }

  /** Says what size could be shown here; it is the session's if this connection typed last. */
  resize(cols: number, rows: number): void {
    if (this.#size?.cols === cols && this.#size.rows === rows) return;
    this.#size = { cols, rows };
    clearTimeout(this.#resizing);
    this.#sendSize();
  }

  /** Sends a signal to the program. Rejects with a `RejoinError`. */
  async signal(signal: Signal): Promise<void> {
    await this.#connection.request("signal", { session: this.session, signal });
  }

  /** Stops following; the session goes on. */
  detach(): void {
    this.#detached = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    clearTimeout(this.#retry);
    clearTimeout(this.#resend);
    clearTimeout(this.#resizing);
    this.#input.clear();
    this.#leave();
  }

  #attach(): void {
    if (this.#detached || this.#paused || this.#attached !== null) return;
    if (this.#connection.state.name !== "connected") return;
    clearTimeout(this.#retry);
    const attempt = ++this.#attempt;
    const { position } = this;
    const payload: Requests["attach"]["payload"] = {
      session: this.session,
      writer: this.writer,
      ...this.#size,
      ...(position !== null && { position }),
      ...(this.#role && { role: this.#role }),
    };
    this.#connection.ask("attach", payload, (answer) => {
      if (attempt === this.#attempt) this.#answered(answer);
    });
  }

  #answered(answer: Answer): void {
    if (answer.ok) {
      this.#follow(answer.payload as Attached);
      return;
    }
    const { error } = answer;
    // A lost connection attaches again when it is back.
    if (this.#connection.state.name !== "connected") return;
    if (error.retryable) this.#retry = setTimeout(() => this.#attach(), this.#backoff.next());
    else this.#emitter.emit("failed", error);
  }

  #follow(attached: Attached): void {
    this.#backoff.reset();
    this.#attached = attached;
    this.#epoch = attached.position.slice(0, attached.position.lastIndexOf("."));
    if (attached.verdict !== "resumed") this.#offset = null;
    this.#emitter.emit("attached", attached);
    if (hasEnded(attached.status)) this.#end();
    for (const piece of this.#input.resume(attached.input_seq)) this.#sendPiece(piece);
    this.#pump();
  }

  #receive(message: BinaryMessage): void {
    if (message.stream !== this.#attached?.stream) return;
    switch (message.kind) {
      case "output":
        this.#output(message);
        break;
      case "snapshot":
        this.#offset = message.offset;
        this.#hand("snapshot", message.bytes);
        break;
      case "input_ack":
        this.#input.acknowledge(message.offset);
        this.#resendMs = RESEND_MS;
        this.#pump();
        break;
      case "input":
        break;
    }
  }

  #output({ offset, bytes }: BinaryMessage): void {
    if (this.#offset === null) return;
    const known = this.#offset - offset;
    if (known < 0) {
      // A hole would corrupt the screen from here on: ask again from where we are.
      this.#leave();
      this.#attach();
      return;
    }
    const news = known === 0 ? bytes : bytes.subarray(known);
    this.#offset += news.length;
    if (news.length > 0) this.#hand("output", news);
  }

  #hand(name: "snapshot" | "output", bytes: Uint8Array): void {
    this.#unparsedBytes += bytes.length;
    let waiting = true;
    const parsed = () => {
      if (!waiting) return;
      waiting = false;
      this.#unparsedBytes -= bytes.length;
      if (this.#paused && this.#unparsedBytes < UNPARSED_LOW_BYTES) {
        this.#paused = false;
        this.#attach();
      }
    };
    this.#emitter.emit(name, { bytes, parsed });
    if (this.#unparsedBytes > UNPARSED_HIGH_BYTES && !this.#paused) {
      this.#paused = true;
      this.#leave();
    }
  }

  #hear(message: ServerMessage): void {
    if (this.#attached === null) return;
    if (message.type === "session" && message.payload.session === this.session) this.#change(message.payload);
    else if (message.type === "error" && REFUSED_INPUT.has(message.payload.code)) this.#resendLater();
  }

  #change(change: SessionChange): void {
    this.#emitter.emit("session", change);
    if (change.status !== undefined && hasEnded(change.status)) this.#end();
  }

  /** One refused input makes the server refuse all that follow, so one timer serves them all. */
  #resendLater(): void {
    this.#resend ??= setTimeout(() => {
      this.#resend = undefined;
      this.#resendMs = Math.min(LONGEST_RESEND_MS, 2 * this.#resendMs);
      for (const piece of this.#input.inFlight()) this.#sendPiece(piece);
    }, this.#resendMs);
  }

  #pump(): void {
    if (this.#attached === null || this.#attached.role === "viewer") return;
    for (const piece of this.#input.take()) this.#sendPiece(piece);
  }

  #sendPiece(piece: Piece): void {
    if (this.#attached === null) return;
    this.#connection.sendBinary(encodeBinary("input", this.#attached.stream, piece.seq, piece.bytes));
  }

  #sendSize(): void {
    if (this.#attached === null || this.#size === null) return;
    this.#connection.ask("resize", { session: this.session, ...this.#size }, (answer) => {
      // The next attach brings the size too; only a refusal while attached would lose it.
      if (answer.ok || !answer.error.retryable || this.#attached === null) return;
      this.#resizing = setTimeout(() => this.#sendSize(), RESIZE_AGAIN_MS);
    });
  }

  #end(): void {
    this.#ended = true;
    this.#input.clear();
  }

  /** Tells the server that this stream is not wanted any more. */
  #leave(): void {
    this.#attempt += 1;
    if (this.#attached === null) return;
    this.#attached = null;
    this.#connection.ask("detach", { session: this.session }, () => {});
  }

  #lose(): void {
    this.#attempt += 1;
    clearTimeout(this.#retry);
    clearTimeout(this.#resizing);
    this.#attached = null;
    this.#emitter.emit("lost", undefined);
  }
}

function hasEnded(status: Attached["status"]): boolean {
  return status === "terminated" || status === "error";
}
