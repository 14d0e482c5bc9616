/**
 * Commands of MRP/1: `number` is the octet in the preamble, fixed for ever and never reused; `flow` says who sends
 * it to whom (G gateway, B broker, W worker). The broker is always one end: gateways and workers never meet.
 */
export const COMMANDS = {
  HELLO: { number: 0x01, flow: "G→B, W→B", meaning: "Opens a session: who I am and what I can do." },
  WELCOME: { number: 0x02, flow: "B→G, B→W", meaning: "The session is open; timers and limits." },
  PING: { number: 0x03, flow: "any", meaning: "I am alive, and this is my load; answer with PONG." },
  PONG: {
    number: 0x04,
    flow: "any",
    meaning: "Answer to a PING; also a barrier: all that was sent before it was handled.",
  },
  ERROR: { number: 0x05, flow: "any", meaning: "A message of yours could not be accepted." },
  DRAIN: { number: 0x06, flow: "any", meaning: "I am going away: send me nothing new." },
  DRAINED: { number: 0x07, flow: "any", meaning: "Answer to DRAIN: nothing new follows." },
  GOODBYE: { number: 0x08, flow: "any", meaning: "Clean end of the session." },
  CHALLENGE: {
    number: 0x09,
    flow: "B→G, B→W",
    meaning: "Prove who you are: HELLO again with a proof over this nonce.",
  },
  SUBMIT: { number: 0x10, flow: "G→B", meaning: "New requests." },
  CANCEL: { number: 0x11, flow: "G→B, B→W", meaning: "These requests are not wanted any more; idempotent." },
  WINDOW: { number: 0x12, flow: "B→G", meaning: "How much the gateway may submit, cumulative." },
  RESULT: { number: 0x13, flow: "W→B, B→G", meaning: "Final answers of requests that were in one batch." },
  PARTIAL: { number: 0x14, flow: "W→B, B→G", meaning: "Chunks of answers that stream." },
  REJECT: { number: 0x15, flow: "B→G", meaning: "Final refusals." },
  MOVED: { number: 0x16, flow: "B→G", meaning: "Another broker owns this pool; these requests are handed back." },
  CREDIT: { number: 0x20, flow: "W→B", meaning: "How many batches each slot may be sent, cumulative." },
  JOB: { number: 0x21, flow: "B→W", meaning: "One batch to run in one slot." },
  NACK: { number: 0x23, flow: "W→B", meaning: "A batch is handed back without an answer." },
  RECLAIM: {
    number: 0x25,
    flow: "W→B, B→W",
    meaning: "The worker asks to lower its grant; the broker answers with what it agrees to.",
  },
  MODELS: {
    number: 0x30,
    flow: "W→B",
    meaning: "All models of the worker: state, limits, curve. Replaces the previous list.",
  },
  ROUTES: {
    number: 0x31,
    flow: "B→G",
    meaning: "All model versions that the broker knows. Replaces the previous list.",
  },
  TOTALS: {
    number: 0x32,
    flow: "G→B, B→G",
    meaning:
      "What has been counted of model versions; a gateway asks for it, and tells what it knows of other brokers.",
  },
} as const satisfies Record<string, { number: number; flow: string; meaning: string }>;

export type Command = keyof typeof COMMANDS;

const byNumber: readonly (Command | undefined)[] = (() => {
  const table: (Command | undefined)[] = [];
  for (const command of Object.keys(COMMANDS) as Command[]) table[COMMANDS[command].number] = command;
  return table;
})();

/** The command of a preamble's octet, or undefined for one that this version does not know. */
export function commandOfNumber(number: number): Command | undefined {
  return byNumber[number];
}
