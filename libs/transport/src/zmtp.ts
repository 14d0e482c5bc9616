/**
 * ZMTP 3.1 with the NULL mechanism (https://rfc.zeromq.org/spec/37/): what ZeroMQ's sockets say to each other on TCP, as octets in
 * and octets out. No I/O, no clock.
 */

export type SocketType = "DEALER" | "ROUTER";

export type ZmtpHandlers = {
  /** Octets for the peer. */
  onBytes(bytes: Uint8Array): void;
  /** The handshake is done: messages may be sent. */
  onReady(): void;
  /** One message. The frames are aligned for any element type, belong to the receiver, and small ones may lie in node's pool. */
  onMessage(frames: Buffer[]): void;
};

/** Bounds of what a peer may send; a peer that is beyond them is not served. */
export type ZmtpBounds = { readonly frameBytes: number; readonly frames: number };

/** Flags of a frame. */
const MORE = 1;
const LONG = 2;
const COMMAND = 4;

const GREETING_BYTES = 64;
/** Where in a greeting its signature ends, the major version stands, and the name of the mechanism. */
const SIGNATURE_END = 9;
const MAJOR_AT = 10;
const MECHANISM_AT = 12;
const MECHANISM_BYTES = 20;

const GREETING = Buffer.alloc(GREETING_BYTES);
GREETING[0] = 0xff;
GREETING[SIGNATURE_END] = 0x7f;
GREETING.set([3, 1], MAJOR_AT);
GREETING.write("NULL", MECHANISM_AT, "latin1");

/** Longer commands than READY with a few properties, or PING with 16 octets of context, are none that we could want. */
const COMMAND_BYTES_MAX = 4096;

/** PING is followed by a TTL of two octets, which comes back to nobody, and by a context of at most 16, which does. */
const PING_TTL_BYTES = 2;
const PING_END = PING_TTL_BYTES + 16;

/** Frames below this many bytes are copied into one piece of memory with the heads of frames; others are sent from where they are. */
const BY_REFERENCE_BYTES = 16 * 1024;

/** Frames below this many bytes share memory with others. */
const POOLED_BYTES = 2048;

/**
 * A frame gets this much memory when its head is here, and FRAME_GROWTH times as much whenever that is full: who announces a large frame
 * has to send it, too. Memory that nobody touches costs nothing but collections: V8 began one for each few frames that were announced.
 */
const FRAME_BYTES_FIRST = 1024 * 1024;
const FRAME_GROWTH = 4;

/** Who may speak to whom, as the protocol has it for asynchronous sockets, without those that would need a delimiter. */
const PEER_OF: Readonly<Record<SocketType, SocketType>> = { DEALER: "ROUTER", ROUTER: "DEALER" };

/** A message to the octets of its frames: pieces to be written one behind the other. Large frames are in them by reference. */
export function encodeFrames(frames: readonly Uint8Array[]): Uint8Array[] {
  let bytes = 0;
  for (const { length } of frames) bytes += (length > 255 ? 9 : 2) + (length < BY_REFERENCE_BYTES ? length : 0);
  const own = Buffer.allocUnsafe(bytes);
  const pieces: Uint8Array[] = [];
  const last = frames.length - 1;
  let at = 0;
  let from = 0;
  for (let i = 0; i <= last; i++) {
    const frame = frames[i]!;
    at = writeHead(own, at, { flags: i < last ? MORE : 0, length: frame.length });
    if (frame.length < BY_REFERENCE_BYTES) {
      own.set(frame, at);
      at += frame.length;
    } else {
      pieces.push(own.subarray(from, at), frame);
      from = at;
    }
  }
  if (from < at) pieces.push(from === 0 ? own : own.subarray(from, at));
  return pieces;
}

/** One end of a connection, from its first octet on. */
export class ZmtpPeer {
  readonly #type: SocketType;
  readonly #bounds: ZmtpBounds;
  readonly #handlers: ZmtpHandlers;
  /** The greeting, or the head of the next frame, as far as it is here. */
  readonly #head = Buffer.alloc(GREETING_BYTES);
  #headBytes = 0;
  #isGreeted = false;
  #isReady = false;
  #isStopped = false;
  #flags = 0;
  /** The frame that is coming in, as far as there is memory for it, how much of it is here, and how long it will be. */
  #body: Buffer | undefined;
  #bodyBytes = 0;
  #frameBytes = 0;
  #frames: Buffer[] = [];

  constructor(type: SocketType, bounds: ZmtpBounds, handlers: ZmtpHandlers) {
    this.#type = type;
    this.#bounds = bounds;
    this.#handlers = handlers;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** To be called once, before anything else. */
  start(): void {
    this.#handlers.onBytes(GREETING);
  }

  /** Nothing is told any more, not even what has been received already: to be called when the connection is given up. */
  stop(): void {
    this.#isStopped = true;
    this.#isReady = false;
    this.#body = undefined;
    this.#frames = [];
  }

  /** Takes what has come, which may be changed afterwards. Why the connection has to end; empty where it need not. Never throws. */
  receive(bytes: Uint8Array): string {
    let at = 0;
    while (at < bytes.length && !this.#isStopped) {
      let fault = "";
      if (this.#body !== undefined) {
        const end = Math.min(bytes.length, at + this.#body.length - this.#bodyBytes);
        this.#body.set(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), this.#bodyBytes);
        this.#bodyBytes += end - at;
        at = end;
        if (this.#bodyBytes === this.#body.length) fault = this.#takeBody(this.#body);
      } else {
        this.#head[this.#headBytes++] = bytes[at++]!;
        if (this.#headBytes === this.#headLength()) fault = this.#isGreeted ? this.#takeHead() : this.#takeGreeting();
      }
      if (fault !== "") return fault;
    }
    return "";
  }

  #headLength(): number {
    if (!this.#isGreeted) return GREETING_BYTES;
    return (this.#head[0]! & LONG) === 0 ? 2 : 9;
  }

  #takeGreeting(): string {
    const head = this.#head;
    this.#headBytes = 0;
    if (head[0] !== 0xff || head[SIGNATURE_END] !== 0x7f) return "not ZMTP";
    if (head[MAJOR_AT]! < 3) return `ZMTP ${head[MAJOR_AT]} is too old`;
    const mechanism = head.toString("latin1", MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES).replace(/\0+$/, "");
    if (mechanism !== "NULL") return `another mechanism than NULL: ${mechanism}`;
    this.#isGreeted = true;
    this.#handlers.onBytes(readyCommand(this.#type));
    return "";
  }

  #takeHead(): string {
    const head = this.#head;
    const flags = head[0]!;
    const isLong = (flags & LONG) !== 0;
    // The upper half of a length is beyond any bound.
    const length = isLong ? head.readUInt32BE(1) * 2 ** 32 + head.readUInt32BE(5) : head[1]!;
    this.#headBytes = 0;
    const isCommand = (flags & COMMAND) !== 0;
    if (flags > (LONG | COMMAND) || (isCommand && (flags & MORE) !== 0)) return `frame flags ${flags}`;
    if (!isCommand && !this.#isReady) return "a message before the handshake is done";
    if (length > (isCommand ? COMMAND_BYTES_MAX : this.#bounds.frameBytes)) return `a frame of ${length} bytes`;
    if (this.#frames.length >= this.#bounds.frames) return "too many frames in a message";
    this.#flags = flags;
    this.#frameBytes = length;
    this.#bodyBytes = 0;
    this.#body = allocate(Math.min(length, FRAME_BYTES_FIRST));
    if (this.#body === undefined) return NO_MEMORY;
    return length === 0 ? this.#takeFrame(this.#body) : "";
  }

  /** The memory for the frame is full: that was all, or there has to be more. */
  #takeBody(body: Buffer): string {
    if (body.length === this.#frameBytes) return this.#takeFrame(body);
    const larger = allocate(Math.min(this.#frameBytes, FRAME_GROWTH * body.length));
    if (larger === undefined) return NO_MEMORY;
    larger.set(body);
    this.#body = larger;
    return "";
  }

  #takeFrame(frame: Buffer): string {
    this.#body = undefined;
    if ((this.#flags & COMMAND) !== 0) return this.#takeCommand(frame);
    this.#frames.push(frame);
    if ((this.#flags & MORE) !== 0) return "";
    const frames = this.#frames;
    this.#frames = [];
    this.#handlers.onMessage(frames);
    return "";
  }

  #takeCommand(command: Buffer): string {
    const nameEnd = 1 + (command[0] ?? 0);
    const name = command.toString("latin1", 1, nameEnd);
    const content = command.subarray(nameEnd);
    if (this.#isReady) {
      if (name === "PING") this.#handlers.onBytes(commandFrame("PONG", content.subarray(PING_TTL_BYTES, PING_END)));
      return "";
    }
    if (name === "ERROR") return `refused: ${content.toString("latin1", 1)}`;
    if (name !== "READY") return `${name} in place of READY`;
    const type = propertyOf(content, "socket-type");
    if (type !== PEER_OF[this.#type]) return `no peer for a ${this.#type}: ${type}`;
    this.#isReady = true;
    this.#handlers.onReady();
    return "";
  }
}

const NO_MEMORY = "no memory for a frame";

/** Memory for a frame, aligned for any element type: the pool's is, too, to 8. Undefined where there is none. */
function allocate(bytes: number): Buffer | undefined {
  if (bytes < POOLED_BYTES) return Buffer.allocUnsafe(bytes);
  try {
    return Buffer.allocUnsafeSlow(bytes);
  } catch {
    return undefined;
  }
}

function writeHead(into: Buffer, at: number, { flags, length }: { flags: number; length: number }): number {
  if (length <= 255) {
    into[at] = flags;
    into[at + 1] = length;
    return at + 2;
  }
  into[at] = flags | LONG;
  into.writeUInt32BE(Math.floor(length / 2 ** 32), at + 1);
  return into.writeUInt32BE(length % 2 ** 32, at + 5);
}

function commandFrame(name: string, content: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.of(name.length), Buffer.from(name, "latin1"), content]);
  const frame = Buffer.alloc(body.length + (body.length > 255 ? 9 : 2));
  frame.set(body, writeHead(frame, 0, { flags: COMMAND, length: body.length }));
  return frame;
}

function readyCommand(type: SocketType): Buffer {
  const property = (name: string, value: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([Buffer.of(name.length), Buffer.from(name, "latin1"), length, Buffer.from(value, "latin1")]);
  };
  return commandFrame("READY", Buffer.concat([property("Socket-Type", type), property("Identity", "")]));
}

/** A property of READY, by its name in lower case: names are compared without it. Undefined where it is not there, or cut off. */
function propertyOf(properties: Buffer, wanted: string): string | undefined {
  for (let at = 0; at < properties.length;) {
    const nameEnd = at + 1 + properties[at]!;
    if (nameEnd + 4 > properties.length) return undefined;
    const valueEnd = nameEnd + 4 + properties.readUInt32BE(nameEnd);
    if (valueEnd > properties.length) return undefined;
    const name = properties.toString("latin1", at + 1, nameEnd).toLowerCase();
    if (name === wanted) return properties.toString("latin1", nameEnd + 4, valueEnd);
    at = valueEnd;
  }
  return undefined;
}
