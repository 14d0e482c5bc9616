import { EventEmitter, once } from "node:events";
import { type Content, decodeMessage, encodeMessage, ERROR_CODES, type Message } from "@millrace/protocol";
import { expect, onTestFinished, test } from "vitest";
import { BrokerLink, reopenMs } from "./broker-link.ts";
import { openRouter } from "./router.ts";

const HELLO: Content<"HELLO"> = {
  role: "gateway",
  instance: "gateway-a",
  pool: "",
  pingIntervalMs: 0,
  slots: 0,
  bytesMax: 0,
  features: [],
  proof: Buffer.alloc(0),
};
const LOAD = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [], dispatched: [] };
const WELCOME: Message = {
  command: "WELCOME",
  instance: "broker-a",
  pingIntervalMs: 0,
  lostAfterMs: 0,
  windowItems: 0,
  windowBytes: 0,
  features: [],
};
const REFUSAL: Message = {
  command: "ERROR",
  code: ERROR_CODES.unauthorized.number,
  seq: 1,
  retryAfterMs: 0,
  text: "not you",
};
const ROUTES: Message = { command: "ROUTES", revision: 1, models: [] };

type Fake = {
  readonly events: EventEmitter;
  readonly faults: string[];
  readonly link: BrokerLink;
  /** Sends with the next number; `change` may alter the header. */
  send(peer: string, message: Message, change?: (header: Uint8Array) => void): void;
};

/** A link and a broker that does what `onHello` says. `events`: active, lost, message. */
async function start(onHello: (fake: Fake, peer: string) => void): Promise<Fake> {
  const events = new EventEmitter();
  const faults: string[] = [];
  const seqs = new Map<string, number>();
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (peer, frames) => {
      const decoded = decodeMessage(frames);
      if (decoded.ok && decoded.message.command === "HELLO") onHello(fake, peer);
    },
    onGone: () => {},
    onTurnEnd: () => {},
  });
  const link = new BrokerLink({
    address: router.address,
    hello: HELLO,
    load: () => LOAD,
    handlers: {
      onActive: (welcome) => events.emit("active", welcome.instance),
      onLost: (reason) => events.emit("lost", reason),
      onMessage: (message) => events.emit("message", message.command),
    },
    onFault: (fault) => {
      faults.push(fault);
      events.emit("fault", fault);
    },
  });
  const fake: Fake = {
    events,
    faults,
    link,
    send(peer, message, change) {
      const seq = (seqs.get(peer) ?? 0) + 1;
      seqs.set(peer, seq);
      const frames = encodeMessage(message, { epoch: "00000000000000b1", seq });
      change?.(frames[0]!);
      router.send(peer, frames);
    },
  };
  onTestFinished(async () => {
    link.close("the test is over");
    await router.close();
  });
  return fake;
}

test("it becomes active, and an unknown command that need not be understood does not harm it", async () => {
  const { events, link, faults } = await start((fake, peer) => {
    fake.send(peer, WELCOME);
    fake.send(peer, ROUTES, (header) => header.set([0xee, 0], 3));
    fake.send(peer, ROUTES);
  });
  const active = once(events, "active");
  expect(await once(events, "message")).toEqual(["ROUTES"]);
  expect(await active).toEqual(["broker-a"]);
  expect(link.state).toBe("active");
  expect(faults).toEqual([]);
});

test("an unknown command that must be understood loses the session with that reason, and it comes back", async () => {
  let hellos = 0;
  const { events } = await start((fake, peer) => {
    fake.send(peer, WELCOME);
    if (hellos++ === 0) fake.send(peer, ROUTES, (header) => header.set([0xee, 1], 3));
  });
  expect(await once(events, "lost")).toEqual(["a message of the broker cannot be read: unknown command 238"]);
  expect(await once(events, "active")).toEqual(["broker-a"]);
});

test("refused three times for one reason, it tells it once, and goes on until it is taken", async () => {
  let hellos = 0;
  const { events, faults } = await start((fake, peer) => fake.send(peer, ++hellos <= 3 ? REFUSAL : WELCOME));
  await once(events, "active");
  expect(hellos).toBe(4);
  expect(faults).toEqual(["the broker answered unauthorized: not you"]);
});

test("a broker that does not answer is told with its address, once", async () => {
  const { events, faults } = await start(() => {});
  expect(await once(events, "fault")).toEqual([expect.stringMatching(/^no broker at tcp:\/\/127\.0\.0\.1:\d+ yet$/)]);
  expect(faults.length).toBe(1);
});

test("the wait before the next attempt doubles up to 2 s, and is spread", () => {
  expect([0, 1, 2, 3, 9, 99].map((failures) => reopenMs(failures, 0))).toEqual([20, 40, 80, 160, 1_000, 1_000]);
  expect([0, 1, 2, 3, 9, 99].map((failures) => reopenMs(failures, 1))).toEqual([100, 200, 400, 800, 2_000, 2_000]);
});
