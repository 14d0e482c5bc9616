import { connect } from "node:net";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { createApp, type GatewayApp } from "../app.ts";
import { EchoInference, inferBody, testOptions, testFormPool } from "../testing.ts";
import { startHttpServer } from "./http-server.ts";
import { LaneExchange } from "./lane-exchange.ts";

/** A client that has heard nothing for so many ticks hears nothing more: the bytes ended in the middle of a request. */
const QUIET_TICKS = 6;
const TICK_MS = 25;

async function start(hotLane: boolean): Promise<{ port: number; inLane: () => number }> {
  // Small limits, so that they are met. Nothing of these tests is to depend on time.
  const limits = { jsonBytesMax: 1024, headerBytesMax: 4096, headerCountMax: 16, bodyGraceMs: 60_000 };
  const options = testOptions({ ...limits, hotLane });
  const app = createApp({
    inference: new EchoInference(),
    options,
    formThreads: testFormPool,
    version: "0.0.0",
    isDraining: () => false,
    isRefusing: () => false,
    observer: { began: () => {}, ended: () => {} },
    onDefect: (error) => {
      throw error;
    },
  });
  let inLane = 0;
  const infer: GatewayApp["infer"] = (exchange, model) => {
    if (exchange instanceof LaneExchange) inLane++;
    app.infer(exchange, model);
  };
  const server = await startHttpServer({ ...app, infer }, options);
  onTestFinished(() => server.close());
  return { port: Number(new URL(server.address).port), inLane: () => inLane };
}

/** In so many turns of the event loop, which both sides share, a connection is accepted and read from. */
const TURNS = 20;

function afterTurns(turns: number, then: () => void): void {
  if (turns === 0) then();
  else setImmediate(() => afterTurns(turns - 1, then));
}

/** Sends pieces, each to be read by itself, and gives what came back until the connection was closed or nothing more came. */
function talk(port: number, pieces: readonly Buffer[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const answers: Buffer[] = [];
    let quietTicks = 0;
    // Ticks, not one timer: when all of this process stands still for a while, that is one.
    const ticks = setInterval(() => {
      if (++quietTicks === QUIET_TICKS) socket.destroy();
    }, TICK_MS);
    socket.on("data", (piece: Buffer) => {
      answers.push(piece);
      quietTicks = 0;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(ticks);
      resolve(Buffer.concat(answers).toString("latin1"));
    });
    const next = (i: number): void => {
      if (i === pieces.length || socket.destroyed) return;
      quietTicks = 0;
      socket.write(pieces[i]!);
      afterTurns(TURNS, () => next(i + 1));
    };
    socket.on("connect", () => next(0));
  });
}

/** What answers say, without what differs from one request to the next. */
function told(answers: string): string {
  return answers
    .replaceAll(/\r\nDate: [^\r]+ GMT/g, "\r\nDate: now")
    .replaceAll(/x-request-id: [\da-f]{12}-\w+/g, "x-request-id: made")
    .replaceAll(/dur=[\d.]+/g, "dur=some");
}

const line = fc.constantFrom(
  "Host: x",
  "host:localhost:80",
  "Content-Type: application/json",
  "X-Request-Id: mine",
  "Connection: keep-alive",
  "connection: close",
  "Connection: keep-alive, te",
  "Accept-Encoding: gzip",
  "Accept-Encoding: identity",
  "X-Request-Timeout-Ms: 4000",
  "x-request-timeout-ms: never",
  "Priority: u=0",
  "priority: odd",
  "Content-Length: 5",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding : chunked",
  "Expect: 100-continue",
  "Upgrade: h2c",
  "Inference-Header-Content-Length: 10",
  "Content-Encoding: identity",
  "X-Odd: \tä ",
  "X-Empty:",
  "X-Folded: 1\r\n 2",
  "X_Under: 1",
);

const body = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(inferBody(), inferBody([1, 2, 3, 4], { id: "ä" })) },
  { weight: 1, arbitrary: fc.constantFrom("{}", "[", "", inferBody([1, 2]), " ".repeat(1100)) },
);

/** Mostly plain requests, with some lines that are not. */
const message = fc
  .record({
    body,
    lines: fc.oneof(fc.constant([]), fc.array(line, { maxLength: 3 })),
    start: fc.oneof(
      { weight: 6, arbitrary: fc.constant("POST /v2/models/echo/infer HTTP/1.1") },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "POST /v2/models/none/infer HTTP/1.1",
          "POST /v2/models/echo/infer HTTP/1.0",
          "POST /v2/models/echo/infer?a=b HTTP/1.1",
          "GET /v2/models/echo/infer HTTP/1.1",
          "GET /livez HTTP/1.1",
          "POST /predict HTTP/1.1",
        ),
      },
    ),
    host: fc.oneof(
      { weight: 8, arbitrary: fc.constant(["Host: x"]) },
      { weight: 1, arbitrary: fc.constantFrom([], ["Host: a b"], ["Host: x@y"], ["Host: x:99999"], ["Host:"]) },
    ),
    lengthMore: fc.oneof(
      { weight: 9, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -1, max: 1 }) },
    ),
  })
  .map((given) => {
    const length = Math.max(0, Buffer.byteLength(given.body) + given.lengthMore);
    const lines = [...given.host, `Content-Length: ${length}`, ...given.lines];
    return `${[given.start, ...lines].join("\r\n")}\r\n\r\n${given.body}`;
  });

/** Where bytes are changed: at a place (as a share of the whole), so many of them away, these in their place. */
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  away: fc.integer({ min: 0, max: 3 }),
  instead: fc.constantFrom(
    "",
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    ",",
    "\0",
    "\x80",
    "0",
    "9",
    "A",
    "\r\n\r\n",
    "POST ",
  ),
});

const LAST = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

const stream = fc
  .record({
    messages: fc.array(message, { minLength: 1, maxLength: 3 }),
    mutations: fc.oneof(fc.constant([]), fc.array(mutation, { maxLength: 2 })),
    cuts: fc.oneof(
      { weight: 2, arbitrary: fc.constant<number[]>([]) },
      { weight: 1, arbitrary: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }) },
    ),
    cutsAtMessages: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  })
  .map(({ messages, mutations, cuts, cutsAtMessages }) => {
    let bytes = Buffer.from(messages.join("") + LAST);
    for (const { at, away, instead } of mutations) {
      const from = Math.floor(at * bytes.byteLength);
      bytes = Buffer.concat([bytes.subarray(0, from), Buffer.from(instead, "latin1"), bytes.subarray(from + away)]);
    }
    const places = cuts.map((cut) => Math.floor(cut * bytes.byteLength));
    let end = 0;
    if (cutsAtMessages) for (const one of messages) places.push((end += Buffer.byteLength(one)));
    const ordered = [0, ...new Set(places.toSorted((a, b) => a - b)), bytes.byteLength];
    return ordered.slice(1).map((to, i) => bytes.subarray(ordered[i], to));
  })
  .map((pieces) => pieces.filter(({ byteLength }) => byteLength > 0));

test(
  "whatever comes, in whatever pieces, is answered as node's HTTP alone answers it",
  { timeout: 120_000 },
  async () => {
    const [lane, node] = [await start(true), await start(false)];
    await fc.assert(
      fc.asyncProperty(fc.array(stream, { minLength: 20, maxLength: 20 }), async (streams) => {
        const both = streams.map(async (pieces) => {
          const [ours, theirs] = await Promise.all([talk(lane.port, pieces), talk(node.port, pieces)]);
          expect(told(ours)).toBe(told(theirs));
        });
        await Promise.all(both);
      }),
      { numRuns: 200, endOnFailure: true },
    );
    // Not all of it is node's.
    expect(lane.inLane()).toBeGreaterThan(300);
    expect(node.inLane()).toBe(0);
  },
);
