import { execFile, spawnSync } from "node:child_process";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { until } from "./support/bounded.ts";
import { elements, get, infer, post, requestOf } from "./support/inference-client.ts";
import { encodeOnnxModel } from "./support/onnx-model.ts";
import { postBytes, type RawAnswer, RawConnection } from "./support/raw-connection.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const HEADERS_TIMEOUT_MS = 1_000;
const HEADER_BYTES_MAX = 16 * 1024;
const JSON_BYTES_MAX = 16 * 1024 * 1024;
/** Long enough that something can be put behind a run on purpose. */
const SLOW_RUN_MS = 400;

const INFER = "/v2/models/double/infer";
const GOOD = JSON.stringify(requestOf({ x: elements("FP32", [1, 2], [1, 2]) }));
const good = postBytes(INFER, GOOD);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: DevSystem;
/** A head that never ends, from the start on: its refusal takes time, which other tests use. */
let trickle: RawConnection;

beforeAll(async () => {
  folder = await temporaryFolder();
  const double = encodeOnnxModel({
    name: "double",
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", 2] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 2] }],
    nodes: [{ op: "Add", inputs: ["x", "x"], outputs: ["y"] }],
  });
  await writeFile(join(folder.path, "double.onnx"), double);
  await writeFile(join(folder.path, "broken.onnx"), double.subarray(0, 40));
  await writeSimulatedModel(folder.path, { name: "slow", runMs: SLOW_RUN_MS });
  const args = ["--headers-timeout-ms", String(HEADERS_TIMEOUT_MS), "--header-bytes-max", String(HEADER_BYTES_MAX)];
  system = await DevSystem.start({ models: folder.path, args });
  trickle = new RawConnection(system.url);
  await trickle.write("POST /predict HTTP/1.1\r\nHost: te");
});

afterAll(async () => {
  trickle?.[Symbol.dispose]();
  // Also: nothing that went wrong is still counted as in flight, or the drain would not end in time.
  await system?.stop();
  await system?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** Whatever a client has done, the next one does not notice. */
afterEach(async () => {
  expect(await infer(system.url, "double", { x: elements("FP32", [1, 2], [3, 4]) })).toEqual({
    y: elements("FP32", [1, 2], [6, 8]),
  });
});

/** Checks the one form that every error has. */
function expectError(answer: RawAnswer, status: number, code: string): void {
  expect(answer.status, answer.body).toBe(status);
  expect(answer.headers["content-type"]).toBe("application/json");
  expect(answer.headers["x-request-id"]).toMatch(/^[\w.:/+=@-]{1,128}$/);
  expect(JSON.parse(answer.body)).toEqual({ error: expect.stringMatching(/./), code });
}

function expectGood(answer: RawAnswer): void {
  expect(answer.status, answer.body).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ outputs: [{ name: "y", data: [2, 4] }] });
}

function request(inputs: object, more: object = {}): string {
  return JSON.stringify({ inputs: [inputs], ...more });
}

const x = { name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] };

test.for<[string, string, number, string]>([
  ["a missing model", postBytes("/v2/models/nobody/infer", GOOD), 404, "model_not_found"],
  ["a missing version", postBytes("/v2/models/double/versions/7/infer", GOOD), 404, "model_not_found"],
  ["a missing model, plain", postBytes("/predict/nobody", "{}"), 404, "model_not_found"],
  ["a model that cannot serve", postBytes("/v2/models/broken/infer", GOOD), 503, "model_not_ready"],
  ["no model named among several", postBytes("/predict", '{"data":[1,2]}'), 400, "invalid_request"],
  ["an unknown route", postBytes("/v3/models", "{}"), 404, "not_found"],
  ["malformed JSON", postBytes(INFER, GOOD.slice(0, -1)), 400, "invalid_json"],
  ["no body", postBytes(INFER, ""), 400, "invalid_json"],
  ["another JSON value", postBytes(INFER, "[]"), 400, "invalid_request"],
  ["deep nesting", postBytes(INFER, "[".repeat(1_000_000)), 400, "invalid_json"],
  ["no such input", postBytes(INFER, request({ ...x, name: "z" })), 400, "invalid_input"],
  ["a wrong shape", postBytes(INFER, request({ ...x, shape: [1, 3] })), 400, "invalid_shape"],
  ["data that do not fill the shape", postBytes(INFER, request({ ...x, data: [1] })), 400, "invalid_shape"],
  ["a wrong datatype", postBytes(INFER, request({ ...x, datatype: "INT32" })), 400, "invalid_datatype"],
  ["an unknown datatype", postBytes(INFER, request({ ...x, datatype: "float" })), 400, "invalid_datatype"],
  ["a wrong value", postBytes(INFER, request({ ...x, data: [1, "2"] })), 400, "invalid_value"],
  ["too many rows", postBytes("/v2/models/slow/infer", simulatedRequest(2049)), 400, "too_many_rows"],
  ["no such output", postBytes(INFER, request(x, { outputs: [{ name: "q" }] })), 400, "invalid_request"],
  [
    "a body that is not compressed as it says",
    postBytes(INFER, GOOD, ["Content-Encoding: gzip"]),
    400,
    "invalid_request",
  ],
  ["an unknown compression", postBytes(INFER, GOOD, ["Content-Encoding: br"]), 501, "unsupported"],
  [
    "a length of the JSON that is none",
    postBytes(INFER, GOOD, ["Inference-Header-Content-Length: x"]),
    400,
    "invalid_request",
  ],
  ["a feature of others", postBytes("/v2/models/double/generate", "{}"), 501, "unsupported"],
  ["a bad timeout", postBytes(INFER, GOOD, ["x-request-timeout-ms: soon"]), 400, "invalid_request"],
])("%s is told in JSON, and the connection lives on", async ([, bytes, status, code]) => {
  using connection = new RawConnection(system.url);
  await connection.write(bytes);
  const answer = await connection.answer();
  expectError(answer, status, code);
  expect(answer.headers["keep-alive"]).toBe("timeout=75");
  expect(answer.headers["retry-after"]).toBe(status === 503 ? "1" : undefined);
  await connection.write(good);
  expectGood(await connection.answer());
});

test.for<[string, string, number, string]>([
  ["GET", INFER, 405, "POST"],
  ["DELETE", "/predict", 405, "POST"],
  ["POST", "/livez", 405, "GET, HEAD"],
])("%s on a route of other methods gets 405 with Allow", async ([method, path, status, allow]) => {
  using connection = new RawConnection(system.url);
  await connection.write(`${method} ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
  const answer = await connection.answer();
  expectError(answer, status, "method_not_allowed");
  expect(answer.headers["allow"]).toBe(allow);
});

test.for<[string, string, number]>([
  ["no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
  ["an unknown method", "BREW /pot HTTP/1.1\r\nHost: test\r\n\r\n", 400],
  ["no Host", `GET /livez HTTP/1.1\r\n\r\n`, 400],
  ["a bad Host", `GET /livez HTTP/1.1\r\nHost: a b/\r\n\r\n`, 400],
  ["a bad length", `POST ${INFER} HTTP/1.1\r\nHost: test\r\nContent-Length: two\r\n\r\n`, 400],
  [
    "two lengths",
    `POST ${INFER} HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  ["a bad chunk", `POST ${INFER} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n`, 400],
  ["too large a head", `GET /livez HTTP/1.1\r\nHost: test\r\nX-Large: ${"a".repeat(HEADER_BYTES_MAX)}\r\n\r\n`, 431],
])("%s is told in JSON, and the connection ends", async ([, bytes, status]) => {
  using connection = new RawConnection(system.url);
  await connection.write(Buffer.from(bytes, "latin1"));
  const answer = await connection.answer();
  expectError(answer, status, "invalid_request");
  expect(answer.headers["connection"]).toBe("close");
  expect(await connection.ended).toEqual({ isReset: false });
});

test("a good answer tells its stages, its batch, its worker and its id, and how long the connection is kept", async () => {
  using connection = new RawConnection(system.url);
  await connection.write(postBytes(INFER, GOOD, ["x-request-id: mine-1"]));
  const answer = await connection.answer();
  expectGood(answer);
  expect(answer.headers["x-request-id"]).toBe("mine-1");
  expect(answer.headers["keep-alive"]).toBe("timeout=75");
  const stages = "parse preprocess gateway_queue broker_queue batch_wait compute postprocess retry network encode";
  const timing = (answer.headers["server-timing"] ?? "").split(", ");
  const names = timing.map((entry) => entry.replace(/;dur=\d+(\.\d+)?$/, ""));
  expect(names).toEqual([...stages.split(" "), 'batch;desc="1"', 'worker;desc="worker-1"']);
});

test("pipelined requests are answered in their order, bad ones among them, and what follows is no request", async () => {
  using connection = new RawConnection(system.url);
  const second = postBytes(INFER, GOOD, ["x-request-id: second"]);
  await connection.write(good + postBytes(INFER, "{") + second + postBytes("/nowhere", "{}") + "no request\r\n\r\n");
  expectGood(await connection.answer());
  expectError(await connection.answer(), 400, "invalid_json");
  const answer = await connection.answer();
  expectGood(answer);
  expect(answer.headers["x-request-id"]).toBe("second");
  expectError(await connection.answer(), 404, "not_found");
  expectError(await connection.answer(), 400, "invalid_request");
  expect(await connection.ended).toEqual({ isReset: false });
  expect(connection.rest).toBe("");
});

test("a body that breaks off: told if the client still listens, forgotten if not", async () => {
  using listening = new RawConnection(system.url);
  await listening.write(good.slice(0, -10));
  listening.finish();
  expectError(await listening.answer(), 400, "invalid_request");
  const gone = new RawConnection(system.url);
  await gone.write(good.slice(0, -10));
  gone[Symbol.dispose]();
});

test("a body beyond the limit is refused: by its length before it comes, in chunks when it is there", async () => {
  const head = `POST ${INFER} HTTP/1.1\r\nHost: test\r\n`;
  using asking = new RawConnection(system.url);
  await asking.write(`${head}Content-Length: ${100 * 1024 * 1024}\r\nExpect: 100-continue\r\n\r\n`);
  expectError(await asking.answer(), 413, "body_too_large");
  using chunked = new RawConnection(system.url);
  await chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = Buffer.alloc(1024 * 1024, "1");
  for (let bytes = 0; bytes <= JSON_BYTES_MAX; bytes += chunk.byteLength) {
    await chunked.write(Buffer.concat([Buffer.from("100000\r\n"), chunk, Buffer.from("\r\n")]));
  }
  await chunked.write("0\r\n\r\n");
  expectError(await chunked.answer(), 413, "body_too_large");
  expect(await chunked.ended).toEqual({ isReset: false });
});

test("who expects 100 Continue gets it for a body that is welcome", async () => {
  using connection = new RawConnection(system.url);
  const [head = "", body = ""] = postBytes(INFER, GOOD, ["Expect: 100-continue"]).split("\r\n\r\n");
  await connection.write(`${head}\r\n\r\n`);
  expect((await connection.answer()).status).toBe(100);
  await connection.write(body);
  expectGood(await connection.answer());
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0;

test.skipIf(!hasCurl).for<[string, string[]]>([
  ["asking first, as it does by default", []],
  ["sending at once", ["-H", "Expect:"]],
])("curl with 100 MB, %s, gets 413", async ([, args]) => {
  const file = join(folder.path, "100-megabytes");
  const handle = await open(file, "w");
  await handle.truncate(100_000_000);
  await handle.close();
  const output = ["-sS", "--max-time", "20", "-w", "\n%{http_code} %{content_type}"];
  const argv = [...output, ...args, "--data-binary", `@${file}`, `${system.url}${INFER}`];
  const { stdout } = await promisify(execFile)("curl", argv);
  const [body = "", line] = stdout.split("\n");
  expect(line).toBe("413 application/json");
  expect(JSON.parse(body)).toEqual({ error: expect.stringMatching(/./), code: "body_too_large" });
});

/** The numbers of rows of which the broker knows a run: those of the warm-up, and of every run since. */
async function rowsThatRan(): Promise<readonly number[]> {
  const answer = await get(`${system.addresses["broker-1"]?.["admin"]}/models`);
  const models = JSON.parse(answer.text) as readonly {
    readonly name: string;
    readonly curves: readonly { readonly points: readonly { readonly rows: number }[] }[];
  }[];
  const { curves = [] } = models.find(({ name }) => name === "slow") ?? {};
  return curves.flatMap(({ points }) => points.map(({ rows }) => rows));
}

async function queuedRows(): Promise<number> {
  const answer = await get(`${system.addresses["broker-1"]?.["admin"]}/models`);
  const models = JSON.parse(answer.text) as readonly { readonly name: string; readonly queued_rows: number }[];
  return models.find(({ name }) => name === "slow")?.queued_rows ?? NaN;
}

/** Lets the slow model run, so that what comes next waits for the slot. */
async function occupySlot(): Promise<{ readonly done: Promise<unknown> }> {
  const done = post(`${system.url}/v2/models/slow/infer`, simulatedRequest(1));
  await until(2_000, "a run", async () => {
    const probe = new RawConnection(system.url);
    await probe.write("GET /livez HTTP/1.1\r\nHost: test\r\n\r\n");
    await probe.answer();
    probe[Symbol.dispose]();
    return (await queuedRows()) === 0;
  });
  return { done };
}

test("what cannot be in time is refused at once, with the time when to come again, and nothing of it runs", async () => {
  const { done } = await occupySlot();
  const url = `${system.url}/v2/models/slow/infer`;
  const startedMs = performance.now();
  const refused = await Promise.all([
    post(url, simulatedRequest(5), { "x-request-timeout-ms": "20" }),
    post(url, simulatedRequest(9), { "x-request-timeout-ms": String(SLOW_RUN_MS / 2) }),
  ]);
  expect(performance.now() - startedMs).toBeLessThan(SLOW_RUN_MS / 2);
  for (const { status, text, headers } of refused) {
    expect(status, text).toBe(429);
    expect(JSON.parse(text)).toEqual({ error: expect.stringMatching(/./), code: "shed" });
    expect(headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
  }
  await done;
  // Its deadline is later than theirs: had they stayed, they would have run before it.
  expect((await post(url, simulatedRequest(7))).status).toBe(200);
  const rows = await rowsThatRan();
  expect(rows).toContain(7);
  expect(rows).not.toContain(5);
  expect(rows).not.toContain(9);
  expect(rows).not.toContain(14);
});

test("when the time is over the client hears 504, with the stages", async () => {
  // The worker stands still: the broker, which believes that there is time enough, is wrong.
  const worker = system.pidOf("worker-1");
  process.kill(worker, "SIGSTOP");
  const startedMs = performance.now();
  const budgetMs = SLOW_RUN_MS + 200;
  const url = `${system.url}/v2/models/slow/infer`;
  const { status, text, headers } = await post(url, simulatedRequest(3), { "x-request-timeout-ms": String(budgetMs) });
  process.kill(worker, "SIGCONT");
  expect(performance.now() - startedMs).toBeGreaterThan(budgetMs - 5);
  expect(status, text).toBe(504);
  expect(JSON.parse(text)).toEqual({ error: expect.stringMatching(/./), code: "deadline_exceeded" });
  expect(headers.get("x-request-id")).toMatch(/./);
  expect(headers.get("server-timing")).toMatch(/^parse;dur=.* encode;dur=/);
  expect((await post(url, simulatedRequest(1))).status).toBe(200);
});

test("a client that goes away takes its request along", async () => {
  const { done } = await occupySlot();
  const gone = new RawConnection(system.url);
  await gone.write(postBytes("/v2/models/slow/infer", simulatedRequest(11)));
  await until(SLOW_RUN_MS, "the request in the queue", async () => (await queuedRows()) === 11);
  gone[Symbol.dispose]();
  await done;
  expect((await post(`${system.url}/v2/models/slow/infer`, simulatedRequest(13))).status).toBe(200);
  const rows = await rowsThatRan();
  expect(rows).toContain(13);
  expect(rows).not.toContain(11);
  expect(rows).not.toContain(24);
});

test("a head that does not end is refused in time", async () => {
  expectError(await trickle.answer(), 408, "too_slow");
});
