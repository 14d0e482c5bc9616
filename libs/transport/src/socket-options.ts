/**
 * Options of every data socket, each with its reason.
 * Source of the settings: zeromq 6.8 / libzmq 4.3.5, read in source and probed; docs/transport.md tells the traps.
 */
export const DATA_SOCKET_OPTIONS = {
  /** Never wait: with −1 one full peer stalls the sends to all others, and the 514th un-awaited send throws EBUSY. */
  sendTimeout: 0,
  /** Tripwires, not flow control (that is what credits and bounded queues are for). Never changed on a live socket. */
  sendHighWaterMark: 8192,
  receiveHighWaterMark: 8192,
  /** Sees half-open connections and stopped hosts; a blocked event loop is seen by PING alone. */
  heartbeatInterval: 1000,
  heartbeatTimeout: 3000,
  heartbeatTimeToLive: 3000,
  handshakeInterval: 3000,
  /** What is unsent when a socket is abandoned is void: the session is lost, and its requests are sent again. */
  linger: 0,
} as const;

/** How long a graceful close may take to send what is left, in ms. */
export const CLOSE_LINGER_MS = 2000;

/** Draft options, present in the prebuilt binaries: exact connection edges. Accelerators only, heartbeats decide. */
const ZMQ_DISCONNECT_MSG = 111;
const ZMQ_HICCUP_MSG = 114;

/** The one-octet message that marks such an edge; no MRP message is one octet long. */
const EDGE = "\u0000";

type DraftSocket = { setStringOption(option: number, value: string): void };

/** Asks a ROUTER to deliver an edge message when a peer's connection goes; without draft support PING finds out. */
export function notifyDisconnect(socket: unknown): boolean {
  return setDraftOption(socket, ZMQ_DISCONNECT_MSG);
}

/** Asks a DEALER to deliver an edge message when its connection goes; without draft support PING finds out. */
export function notifyHiccup(socket: unknown): boolean {
  return setDraftOption(socket, ZMQ_HICCUP_MSG);
}

/** Whether the frames behind the routing id are such an edge. */
export function isEdge(frames: readonly Buffer[]): boolean {
  return frames.length === 1 && frames[0]!.length === 1 && frames[0]![0] === 0;
}

function setDraftOption(socket: unknown, option: number): boolean {
  try {
    (socket as DraftSocket).setStringOption(option, EDGE);
    return true;
  } catch {
    return false;
  }
}
