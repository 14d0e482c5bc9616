import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeConformanceModels } from "./conformance/conformance-models.ts";
import { StartedProcess } from "./support/started-process.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type CheckLine = {
  readonly name: string;
  readonly mandatory: boolean;
  readonly result: string;
  readonly detail: string;
};
type Document = {
  readonly model: string;
  readonly checks: readonly CheckLine[];
  readonly latencies: readonly {
    readonly connections: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
    readonly perSecond: number;
    readonly failures: number;
  }[];
};

const cleanup = new AsyncDisposableStack();
let system: DevSystem;

beforeAll(async () => {
  const folder = cleanup.use(await temporaryFolder());
  await writeConformanceModels(folder.path);
  system = cleanup.use(await DevSystem.start({ models: folder.path, readyTimeoutMs: 60_000 }));
}, 90_000);

afterAll(() => cleanup.disposeAsync());

/** `millrace check`. */
async function check(
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly lines: readonly string[] }> {
  await using command = new StartedProcess({ argv: ["cli/src/main.ts", "check", ...args] });
  const { code } = await command.awaitExit(60_000);
  return { code, lines: command.log.lines };
}

async function document(...args: readonly string[]): Promise<Document & { readonly code: number | null }> {
  const { code, lines } = await check(...args, "--json");
  return { code, ...(JSON.parse(lines.join("\n")) as Document) };
}

function namesOf({ checks }: Document, result: string): string[] {
  return checks.filter((line) => line.result === result).map(({ name }) => name);
}

const ALWAYS_MISSING = ["outputs as bytes and JSON, mixed", "a body without JSON", "classification"];

test.each([
  ["digits", []],
  ["echo_int64", ALWAYS_MISSING.slice(0, 2)],
  ["echo_bytes", ALWAYS_MISSING],
  ["echo_fp16", ["one output, asked for by name", "data that does not fill its shape: 4xx", ...ALWAYS_MISSING]],
  ["echo_mixed", ["a body without JSON"]],
])("our gateway passes with %s", async (model, missing) => {
  const given = await document(system.url, "--model", model, "--seconds", "0");
  expect(given.checks.filter(({ result }) => result === "failed")).toEqual([]);
  expect(namesOf(given, "missing")).toEqual(missing);
  expect(namesOf(given, "ok")).toHaveLength(33 - missing.length);
  expect(given.code).toBe(0);
});

test("the speed is measured with 1 and with 16 connections, and the table tells what was found", async () => {
  const { code, latencies } = await document(system.url, "--model=digits", "--seconds=0.5");
  expect(code).toBe(0);
  expect(latencies.map(({ connections }) => connections)).toEqual([1, 16]);
  for (const { p50Ms, p99Ms, perSecond, failures } of latencies) {
    expect(p50Ms).toBeGreaterThan(0);
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms);
    expect(perSecond).toBeGreaterThan(0);
    expect(failures).toBe(0);
  }
  const { lines } = await check(system.url, "--model=digits", "--seconds=0.2");
  expect(lines[0]).toBe(`${system.url}/, model digits`);
  expect(lines.find((line) => line.includes("model configuration"))).toMatch(
    /^ {2}✓ model configuration +max_batch_size 64$/,
  );
  expect(lines).toContain("33 passed, 0 failed, 0 not there");
  expect(lines.filter((line) => /p50 [\d.]+ ms, p99 [\d.]+ ms, \d+\/s over \d+ answers$/.test(line))).toHaveLength(2);
});

test("what cannot be asked at all is told", async () => {
  const told = async (...args: readonly string[]): Promise<string> => {
    const { code, lines } = await check(...args);
    expect(code).not.toBe(0);
    return lines.join("\n");
  };
  expect(await told()).toContain("no URL is given");
  expect(await told("localhost")).toContain('"localhost" is no http or https URL');
  expect(await told("http://127.0.0.1:1")).toContain("no answer: connect ECONNREFUSED");
  expect(await told(system.url)).toMatch(/which model\? --model NAME; there are .*digits/);
  expect(await told(system.url, "--model", "nobody")).toContain('status 404: no model "nobody"');
  expect(await told(system.url, "--shape", "x")).toContain("expected NAME:1,2,3");
  expect(await told(system.url, "--model", "digits", "--shape", "imagine:3")).toContain(
    '--shape: no input "imagine"; there are image',
  );
});

type Exchange = {
  readonly path: string;
  readonly asked: IncomingHttpHeaders;
  readonly request: Buffer;
  status: number;
  readonly headers: Record<string, string>;
  body: Buffer;
};

const PASSED_ON = ["content-type", "content-encoding", "accept-encoding", "inference-header-content-length"];

/** The gateway, with its answers spoilt. */
async function spoilt(spoil: (exchange: Exchange) => void): Promise<AsyncDisposable & { readonly url: string }> {
  const forward = async (asked: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const request = Buffer.concat(await Array.fromAsync(asked as AsyncIterable<Buffer>));
    const path = asked.url ?? "";
    const headers = new Headers({ "accept-encoding": "identity" });
    for (const name of PASSED_ON) if (asked.headers[name] !== undefined) headers.set(name, String(asked.headers[name]));
    const method = asked.method ?? "GET";
    const got = await fetch(
      system.url + path,
      request.length === 0 ? { method, headers } : { method, headers, body: request },
    );
    const { "content-length": _, "content-encoding": __, ...kept } = Object.fromEntries(got.headers);
    const body = Buffer.from(await got.arrayBuffer());
    const exchange: Exchange = { path, asked: asked.headers, request, status: got.status, headers: kept, body };
    spoil(exchange);
    answer.writeHead(exchange.status, exchange.headers).end(exchange.body);
  };
  const server = createServer((asked, answer) => void forward(asked, answer).catch(() => answer.destroy()));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function replaceIn(exchange: Exchange, from: string | RegExp, to: string): void {
  exchange.body = Buffer.from(exchange.body.toString("latin1").replace(from, to), "latin1");
}

const isInfer = ({ path, status }: Exchange): boolean => path.endsWith("/infer") && status === 200;
const isJson = ({ asked }: Exchange): boolean => asked["inference-header-content-length"] === undefined;

test.each<[string, (exchange: Exchange) => void, readonly string[]]>([
  [
    "the process says it does not live",
    (e) => void (e.path === "/v2/health/live" && (e.status = 503)),
    ["the process lives"],
  ],
  ["it is never ready", (e) => void (e.path === "/v2/health/ready" && (e.status = 400)), ["the server is ready"]],
  [
    "server metadata without a version",
    (e) => void (e.path === "/v2" && replaceIn(e, "version", "other")),
    ["server metadata"],
  ],
  [
    "another model's metadata",
    (e) => void (e.path === "/v2/models/digits" && replaceIn(e, '"digits"', '"other"')),
    ["model metadata"],
  ],
  [
    "404 as a page",
    (e) => void (e.path.endsWith("-here") && (e.body = Buffer.from("<html>"))),
    ["unknown model: 4xx, error form"],
  ],
  [
    "an unknown model is 200",
    (e) => void (e.path.endsWith("-here") && (e.status = 200)),
    ["unknown model: 4xx, error form"],
  ],
  [
    "promised, and no configuration",
    (e) => void (e.path.endsWith("/config") && (e.status = 404)),
    ["model configuration"],
  ],
  [
    "statistics that stand",
    (e) => void (e.path.endsWith("/stats") && replaceIn(e, /"count":\d+/g, '"count":1')),
    ["statistics count requests and rows"],
  ],
  [
    "promised, and no classification",
    (e) => void (e.request.includes("classification") && (e.status = 501)),
    ["classification"],
  ],
  [
    "an output of another datatype",
    (e) => void (isInfer(e) && isJson(e) && replaceIn(e, '"INT64"', '"INT32"')),
    [
      "inference, JSON, flat data",
      "inputs as bytes, outputs as JSON",
      "inputs as JSON, outputs as bytes",
      "inputs and outputs as bytes",
      "outputs as bytes and JSON, mixed",
      "a body without JSON",
    ],
  ],
  ["the id is lost", (e) => void (isInfer(e) && replaceIn(e, '"id":"check-1",', "")), ["the request's id comes back"]],
  [
    "nested data is refused",
    (e) => void (isInfer(e) && e.request.includes('"data":[[') && (e.status = 400)),
    ["nested data"],
  ],
  [
    "rows that depend on each other",
    (e) => void (isInfer(e) && e.request.includes("[2,64]") && replaceIn(e, /"data":\[(\d),/, '"data":[9$1,')),
    ["two rows at a time are as each alone"],
  ],
  [
    "mistakes are 500",
    (e) => void (e.status === 400 && (e.status = 500)),
    [
      "a body that is not JSON: 4xx",
      "data that does not fill its shape: 4xx",
      "an unknown datatype: 4xx",
      "no inputs: 4xx",
      "an unknown output: 4xx",
      "length of the JSON off by -1: 400",
      "length of the JSON off by 1: 400",
      "bytes that are too few: 4xx",
    ],
  ],
  [
    "bytes that are wrong",
    (e) => {
      if (isInfer(e) && "inference-header-content-length" in e.headers && !("content-encoding" in e.asked))
        e.body[e.body.length - 2]! ^= 0x40;
    },
    [
      "inputs as JSON, outputs as bytes",
      "inputs and outputs as bytes",
      "outputs as bytes and JSON, mixed",
      "a body without JSON",
    ],
  ],
  [
    "a byte too many",
    (e) => {
      if (isInfer(e) && "inference-header-content-length" in e.headers) e.body = Buffer.concat([e.body, Buffer.of(0)]);
    },
    [
      "inputs as JSON, outputs as bytes",
      "inputs and outputs as bytes",
      "outputs as bytes and JSON, mixed",
      "a body without JSON",
    ],
  ],
  [
    "another answer to compressed bodies",
    (e) => void (e.asked["content-encoding"] === "gzip" && replaceIn(e, /"data":\[(\d)/, '"data":[9$1')),
    ["a body in gzip"],
  ],
])("it is found that: %s", async (_, spoil, failed) => {
  await using proxy = await spoilt(spoil);
  const given = await document(proxy.url, "--model", "digits", "--seconds", "0");
  expect(namesOf(given, "failed")).toEqual(failed);
  expect(given.code).toBe(1);
});

test("what nobody has promised may be missing", async () => {
  await using proxy = await spoilt((exchange) => {
    if (exchange.path === "/v2") replaceIn(exchange, /"extensions":\[[^\]]*\]/, '"extensions":[]');
    const isExtension =
      "inference-header-content-length" in exchange.asked || exchange.request.includes('"binary_data":true');
    if (isExtension || /config|stats|index|content-encoding/.test(exchange.path)) exchange.status = 501;
    if ("content-encoding" in exchange.asked) exchange.status = 415;
  });
  const given = await document(proxy.url, "--model", "digits", "--seconds", "0");
  expect(namesOf(given, "failed")).toEqual([]);
  expect(namesOf(given, "missing")).toHaveLength(15);
  expect(given.code).toBe(0);
});
