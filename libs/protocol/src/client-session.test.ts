import { expect, test } from "vitest";
import {
  ClientSession,
  type ClientSessionAction,
  HELLO_EVERY_MS,
  LOST_AFTER_MS,
  PING_EVERY_MS,
} from "./client-session.ts";
import { ERROR_CODES } from "./error-code.ts";
import type { Content, Message } from "./message.ts";

const HELLO: Content<"HELLO"> = {
  role: "worker",
  instance: "worker-a",
  pool: "",
  pingIntervalMs: PING_EVERY_MS,
  slots: 1,
  bytesMax: 1_000,
  features: [],
  proof: Buffer.alloc(0),
};
const LOAD = { queuedRows: 0, runningBatches: 1, oldestMs: 5, progressAgeMs: 0, granted: [2], dispatched: [1] };
const WELCOME: Message = {
  command: "WELCOME",
  instance: "broker-a",
  pingIntervalMs: 0,
  lostAfterMs: 0,
  windowItems: 0,
  windowBytes: 0,
  features: [],
};
const ROUTES: Message = { command: "ROUTES", revision: 1, models: [] };
const EPOCH = "00000000000000b1";
const hello = { type: "send", message: { command: "HELLO", ...HELLO } };

/** A session and its broker's end: `from` hands it the broker's next message. */
class Harness {
  readonly session = new ClientSession({ hello: HELLO, load: () => LOAD });
  seq = 40;

  from(message: Message, nowMs: number, stamp?: { epoch?: string; seq?: number }): ClientSessionAction[] {
    const { epoch = EPOCH, seq = ++this.seq } = stamp ?? {};
    return this.session.handle({ type: "received", epoch, seq, message }, nowMs);
  }

  tick(nowMs: number): ClientSessionAction[] {
    return this.session.handle({ type: "tick" }, nowMs);
  }
}

function active(welcome: Message = WELCOME): Harness {
  const harness = new Harness();
  harness.session.handle({ type: "opened" }, 0);
  harness.from(welcome, 0);
  expect(harness.session.state).toBe("active");
  return harness;
}

function lost(reason: string, retryAfterMs = 0): ClientSessionAction[] {
  return [{ type: "lost", reason, retryAfterMs }];
}

test("a new socket is greeted at once, then every 100 ms until WELCOME", () => {
  const { session, tick } = bound(new Harness());
  expect(session.state).toBe("connecting");
  expect(session.handle({ type: "opened" }, 1_000)).toEqual([hello]);
  expect(tick(1_000 + HELLO_EVERY_MS - 1)).toEqual([]);
  expect(tick(1_000 + HELLO_EVERY_MS)).toEqual([hello]);
  expect(tick(1_000 + HELLO_EVERY_MS + 1)).toEqual([]);
  expect(tick(1_000 + 2 * HELLO_EVERY_MS)).toEqual([hello]);
  // However long it takes: there is no giving up.
  expect(tick(1_000_000)).toEqual([hello]);
});

test("WELCOME activates, whatever its sequence number", () => {
  const harness = new Harness();
  harness.session.handle({ type: "opened" }, 0);
  expect(harness.from(WELCOME, 3)).toEqual([{ type: "activated", welcome: WELCOME }]);
  expect(harness.session.state).toBe("active");
  expect(harness.tick(HELLO_EVERY_MS + 3)).toEqual([]);
});

test("before WELCOME nothing is delivered", () => {
  const harness = new Harness();
  harness.session.handle({ type: "opened" }, 0);
  expect(harness.from(ROUTES, 1)).toEqual([]);
  expect(harness.from({ command: "PING", ping: 1, ...LOAD }, 1)).toEqual([]);
  expect(harness.from({ command: "CHALLENGE", nonce: Buffer.alloc(16) }, 1)).toEqual([]);
  expect(harness.session.handle({ type: "disconnected" }, 2)).toEqual([]);
  expect(harness.session.state).toBe("connecting");
});

test("a second WELCOME, for a repeated HELLO, is passed over in order", () => {
  const harness = active();
  expect(harness.from(WELCOME, 1)).toEqual([]);
  expect(harness.from(ROUTES, 2)).toEqual([{ type: "deliver", message: ROUTES }]);
});

test("PING goes out every 500 ms with a running number and the load", () => {
  const { tick, from } = bound(active());
  expect(tick(PING_EVERY_MS - 1)).toEqual([]);
  expect(tick(PING_EVERY_MS)).toEqual([{ type: "send", message: { command: "PING", ping: 1, ...LOAD } }]);
  expect(tick(PING_EVERY_MS + 1)).toEqual([]);
  expect(from({ command: "PONG", ping: 1, ...LOAD }, PING_EVERY_MS + 2)).toEqual([]);
  // A late tick does not make up for the PINGs that it missed.
  expect(tick(3 * PING_EVERY_MS)).toEqual([{ type: "send", message: { command: "PING", ping: 2, ...LOAD } }]);
  expect(tick(3 * PING_EVERY_MS + 1)).toEqual([]);
});

test("WELCOME sets the timers", () => {
  const { tick } = bound(active({ ...WELCOME, pingIntervalMs: 100, lostAfterMs: 250 }));
  expect(tick(99)).toEqual([]);
  expect(tick(100)).toMatchObject([{ message: { command: "PING" } }]);
  expect(tick(249)).toMatchObject([{ message: { command: "PING" } }]);
  expect(tick(250)).toEqual(lost("the broker was silent for 250 ms"));
});

test("a PING of the broker is answered with its number and the load", () => {
  expect(active().from({ command: "PING", ping: 77, ...LOAD }, 1)).toEqual([
    { type: "send", message: { command: "PONG", ping: 77, ...LOAD } },
  ]);
});

test("silence loses the session after 2 s; any message counts as a sign of life", () => {
  const harness = active();
  expect(harness.tick(LOST_AFTER_MS - 1)).toMatchObject([{ message: { command: "PING" } }]);
  harness.from(ROUTES, LOST_AFTER_MS - 1);
  expect(harness.tick(2 * LOST_AFTER_MS - 2)).toMatchObject([{ message: { command: "PING" } }]);
  expect(harness.tick(2 * LOST_AFTER_MS - 1)).toEqual(lost("the broker was silent for 2000 ms"));
  expect(harness.session.state).toBe("lost");
  expect(harness.tick(3 * LOST_AFTER_MS)).toEqual([]);
});

test("a gap in the sequence, or a number that came before, loses the session", () => {
  for (const seq of [43, 41, 0]) {
    const harness = active();
    expect(harness.from(ROUTES, 1, { seq })).toEqual(lost("messages of the broker were lost"));
    expect(harness.session.state).toBe("lost");
  }
});

test("a message that need not be understood counts, and is ignored", () => {
  const harness = active();
  const skipped = { type: "skipped", epoch: EPOCH, seq: ++harness.seq } as const;
  expect(harness.session.handle(skipped, LOST_AFTER_MS - 1)).toEqual([]);
  expect(harness.from(ROUTES, LOST_AFTER_MS)).toEqual([{ type: "deliver", message: ROUTES }]);
  expect(harness.session.handle(skipped, LOST_AFTER_MS)).toEqual(lost("messages of the broker were lost"));
  expect(harness.session.handle(skipped, LOST_AFTER_MS)).toEqual([]);
});

test("a message that must be understood and cannot be read loses the session, before and after WELCOME", () => {
  const unreadable = { type: "unreadable", reason: "unknown command 99" } as const;
  const connecting = new Harness();
  connecting.session.handle({ type: "opened" }, 0);
  for (const { session } of [connecting, active()]) {
    expect(session.handle(unreadable, 1)).toEqual(lost("unknown command 99"));
    expect(session.handle(unreadable, 2)).toEqual([]);
  }
});

test("another epoch loses the session: the broker is not the one that said WELCOME", () => {
  const harness = active();
  expect(harness.from(ROUTES, 1, { epoch: "00000000000000b2" })).toEqual(lost("the broker was restarted"));
});

test("ERROR loses the session before and after WELCOME, also outside the sequence", () => {
  const error: Message = {
    command: "ERROR",
    code: ERROR_CODES.not_registered.number,
    seq: 9,
    retryAfterMs: 0,
    text: "say HELLO first",
  };
  const reason = "the broker answered not_registered: say HELLO first";
  const connecting = new Harness();
  connecting.session.handle({ type: "opened" }, 0);
  expect(connecting.from(error, 1, { seq: 0 })).toEqual(lost(reason));
  expect(active().from(error, 1)).toEqual(lost(reason));
  expect(active().from(error, 1, { seq: 0 })).toEqual(lost(reason));
  expect(active().from({ ...error, retryAfterMs: 70 }, 1)).toEqual(lost(reason, 70));
  expect(active().from({ ...error, code: 999 }, 1)).toEqual(lost("the broker answered internal: say HELLO first"));
});

test("GOODBYE of the broker and a lost connection lose an active session", () => {
  expect(active().from({ command: "GOODBYE", reason: "shutting down", graceMs: 0 }, 1)).toEqual(
    lost("the broker said goodbye: shutting down"),
  );
  const { session } = active();
  expect(session.handle({ type: "disconnected" }, 1)).toEqual(lost("the connection to the broker is gone"));
  expect(session.handle({ type: "disconnected" }, 2)).toEqual([]);
});

test("everything else is delivered in order: DRAIN, JOB, RESULT and the like are the owner's business", () => {
  const harness = active();
  const messages: Message[] = [
    ROUTES,
    { command: "DRAIN", reason: "rolling", graceMs: 1_000 },
    { command: "CANCEL", items: [{ batch: 1, request: 0 }] },
    { command: "JOB", batch: 1, slot: 0, model: 0, bucket: "", flags: 0, items: [] },
  ];
  for (const message of messages) expect(harness.from(message, 1)).toEqual([{ type: "deliver", message }]);
});

test("a lost session is deaf until a new socket is opened; then everything starts anew", () => {
  const harness = active();
  harness.session.handle({ type: "disconnected" }, 1);
  expect(harness.from(ROUTES, 2)).toEqual([]);
  expect(harness.from(WELCOME, 2)).toEqual([]);
  expect(harness.session.state).toBe("lost");
  expect(harness.session.handle({ type: "opened" }, 3)).toEqual([hello]);
  harness.seq = 0;
  expect(harness.from(WELCOME, 4, { epoch: "00000000000000b2" })).toEqual([{ type: "activated", welcome: WELCOME }]);
  expect(harness.from(ROUTES, 5, { epoch: "00000000000000b2", seq: 1 })).toEqual(
    lost("messages of the broker were lost"),
  );
});

test("silence counts from WELCOME, not from the session before", () => {
  const harness = active();
  harness.session.handle({ type: "disconnected" }, 1);
  harness.session.handle({ type: "opened" }, 10_000);
  harness.from(WELCOME, 10_050);
  expect(harness.tick(10_050 + PING_EVERY_MS - 1)).toEqual([]);
  expect(harness.tick(10_050 + LOST_AFTER_MS)).toEqual(lost("the broker was silent for 2000 ms"));
});

test("GOODBYE is said to an active session only, and closes for good", () => {
  const { session } = active();
  const goodbye = { type: "goodbye", reason: "drained" } as const;
  expect(session.handle(goodbye, 1)).toEqual([
    { type: "send", message: { command: "GOODBYE", reason: "drained", graceMs: 0 } },
  ]);
  expect(session.state).toBe("closed");
  expect(session.handle(goodbye, 2)).toEqual([]);
  expect(session.handle({ type: "opened" }, 3)).toEqual([]);
  expect(session.handle({ type: "tick" }, 9_999)).toEqual([]);
  expect(session.handle({ type: "disconnected" }, 9_999)).toEqual([]);
  expect(session.state).toBe("closed");
  const connecting = new Harness();
  connecting.session.handle({ type: "opened" }, 0);
  expect(connecting.session.handle(goodbye, 1)).toEqual([]);
  expect(connecting.from(WELCOME, 2)).toEqual([]);
});

/** The harness with methods that can be taken apart. */
function bound(harness: Harness) {
  return { session: harness.session, tick: harness.tick.bind(harness), from: harness.from.bind(harness) };
}
