import { performance } from "node:perf_hooks";

/** After this many messages, or this many ms, the loop lets timers and other sockets run. */
const TURN_MESSAGES = 256;
const TURN_MS = 2;

type Receiver = { readonly readable: boolean; readonly closed: boolean; receive(): Promise<Buffer[]> };

export type ReceiveHandlers = {
  /** Called for each message; must not throw. */
  onMessage(frames: Buffer[]): void;
  /** Called when all that was there has been handled, and at the latest after each turn: the place to decide and flush. */
  onTurnEnd(): void;
};

/**
 * Reads a socket until it closes: one receive is outstanding, and what has queued up behind it is drained in the same turn,
 * so that decisions see everything that has arrived and answers go out together. Adds no delay.
 */
export async function receiveLoop(socket: Receiver, handlers: ReceiveHandlers): Promise<void> {
  for (;;) {
    try {
      handlers.onMessage(await socket.receive());
      const turnStartMs = performance.now();
      let left = TURN_MESSAGES;
      while (--left > 0 && socket.readable && performance.now() - turnStartMs < TURN_MS) {
        handlers.onMessage(await socket.receive());
      }
    } catch (error) {
      if (socket.closed) return;
      throw error;
    }
    handlers.onTurnEnd();
    // Settled receives run in microtasks: without a real pause timers and HTTP would never get their turn.
    if (socket.readable) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
