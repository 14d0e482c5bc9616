import { readFileSync } from "node:fs";
import type { ModelDescription } from "@millrace/protocol";
import fc from "fast-check";
import { deflateSync, gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { expect, onTestFinished, test, vi } from "vitest";
import { createApp, type GatewayApp } from "./app.ts";
import type { CallEnd } from "./call/call-end.ts";
import type { GatewayOptions } from "./config.ts";
import type { FormJob, FormThreads, ReadTask, WriteTask } from "./form-threads/form-pool.ts";
import { echoOf, EchoInference, inferBody, TEST_STAGES, testModel, testOptions, testFormPool } from "./testing.ts";
import { type ApiKeys, parseApiKeys } from "./call/tenant-access.ts";
import { UNSUPPORTED_ROUTES } from "./routes/unsupported-routes.ts";

const defects: unknown[] = [];
/** Names of models whose calls have begun, and how all calls and refusals have ended. */
const begun: string[] = [];
const ends: CallEnd[] = [];
const observer = {
  began: ({ name }: ModelDescription): void => void begun.push(name),
  ended: (end: CallEnd): void => void ends.push(end),
};

type Given = Partial<GatewayOptions> & {
  readonly apiKeys?: ApiKeys;
  readonly isDraining?: () => boolean;
  readonly formThreads?: FormThreads;
};

function appOf(inference = new EchoInference(), given: Given = {}) {
  const isDraining = given.isDraining ?? (() => false);
  const onDefect = (error: unknown): void => void defects.push(error);
  return createApp({
    inference,
    options: testOptions(given),
    formThreads: given.formThreads ?? testFormPool,
    version: "1.2.3",
    apiKeys: given.apiKeys,
    isDraining,
    isRefusing: isDraining,
    onDefect,
    observer,
  });
}

type Answer = { status: number; headers: Headers; body: Record<string, unknown> & { error: string; code: string } };

async function ask(app: GatewayApp, path: string, init?: RequestInit): Promise<Answer> {
  const response = await app.request(path, init);
  const text = await response.text();
  expect(response.headers.get("x-request-id")).toMatch(/^[\w.:/+=@-]{1,128}$/);
  if (text !== "") expect(response.headers.get("content-type")).toBe("application/json");
  const body = (text === "" ? {} : JSON.parse(text)) as Answer["body"];
  if (response.status >= 400 && body.ready === undefined) {
    expect(Object.keys(body)).toEqual(text === "" ? [] : ["error", "code"]);
  }
  return { status: response.status, headers: response.headers, body };
}

const post = (app: GatewayApp, path: string, body: string): Promise<Answer> => ask(app, path, { method: "POST", body });

const infer = (app: GatewayApp, body = inferBody(), headers: Record<string, string> = {}): Promise<Answer> =>
  ask(app, "/v2/models/echo/infer", { method: "POST", body, headers });

test("infer answers with the outputs, the request's ids and every stage's time", async () => {
  const { status, headers, body } = await infer(appOf(), inferBody([1, 2, 3, 4, 5, 6, 7, 8], { id: "42" }), {
    "x-request-id": "mine",
  });
  expect(status).toBe(200);
  expect(body).toEqual({
    id: "42",
    model_name: "echo",
    model_version: "1",
    outputs: [{ name: "y", datatype: "FP32", shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 7, 8] }],
  });
  expect(headers.get("x-request-id")).toBe("mine");
  expect(headers.get("server-timing")).toMatch(
    /^parse;dur=\d+(\.\d{1,3})?, preprocess;dur=0, gateway_queue;dur=0.011, .* encode;dur=[\d.]+, batch;desc="2", worker;desc="worker-1"$/,
  );
});

test("an empty id is not echoed", async () => {
  expect((await infer(appOf(), inferBody([1, 2, 3, 4], { id: "" }))).body).not.toHaveProperty("id");
});

test("versions: the path's, else the highest that is ready", async () => {
  const app = appOf(new EchoInference(["2", "10", "9"].map((version) => testModel({ version }))));
  expect((await infer(app)).body.model_version).toBe("10");
  expect((await post(app, "/v2/models/echo/versions/9/infer", inferBody())).body.model_version).toBe("9");
  const { status, body } = await post(app, "/v2/models/echo/versions/3/infer", inferBody());
  expect([status, body]).toEqual([404, { error: 'model "echo" has no version "3"', code: "model_not_found" }]);
});

test("a model's name may hold any character", async () => {
  const app = appOf(new EchoInference([testModel({ name: "a/b ä" })]));
  expect((await post(app, "/v2/models/a%2Fb%20%C3%A4/infer", inferBody())).body.model_name).toBe("a/b ä");
  for (const name of ["__proto__", "constructor", "%00", "%zz"]) {
    expect((await post(app, `/v2/models/${name}/infer`, inferBody())).body.code).toBe("model_not_found");
  }
});

test("models that cannot take requests are refused at once, with the reason", async () => {
  const inference = new EchoInference([
    testModel({ name: "broken", state: "failed", reason: "no such operator" }),
    testModel({ name: "young", state: "loading" }),
    { model: testModel({ name: "lonely" }), workers: 0, isDefault: true },
  ]);
  const app = appOf(inference);
  const refusals = ["broken", "young", "lonely", "other"].map((name) => post(app, `/predict/${name}`, `{"data":1}`));
  expect((await Promise.all(refusals)).map(({ status, body }) => [status, body.code, body.error])).toEqual([
    [503, "model_not_ready", 'model "broken" version "1" cannot serve: no such operator'],
    [503, "model_not_ready", 'model "young" version "1" is loading'],
    [503, "unavailable", 'no worker serves model "lonely" version "1"'],
    [404, "model_not_found", 'no model "other"'],
  ]);
  inference.reason = "no broker session";
  const { body, headers } = await post(app, "/predict/other", `{"data":1}`);
  expect([body.code, headers.get("retry-after")]).toEqual(["unavailable", "1"]);
  expect(inference.submitted).toBe(0);
});

test("while no worker has told of a model nobody can say that there is none: 503, on every route", async () => {
  const app = appOf(new EchoInference([]));
  const expected = { error: "no worker has told of a model yet", code: "unavailable" };
  for (const path of ["/v2/models/echo/infer", "/predict/echo", "/predict", "/v1/models/echo:predict"]) {
    const { status, headers, body } = await post(app, path, inferBody());
    expect([path, status, headers.get("retry-after"), body]).toEqual([path, 503, "1", expected]);
  }
  for (const path of ["/v2/models/echo", "/v2/models/echo/ready", "/v2/models/echo/config", "/v1/models/echo"]) {
    const { status, headers, body } = await ask(app, path);
    expect([path, status, headers.get("retry-after"), body]).toEqual([path, 503, "1", expected]);
  }
});

test("predict: the named model, the only one, the default, or a list of the choices", async () => {
  const one = appOf();
  const { body, headers } = await post(one, "/predict", `{"data":[1,2,3,4],"request_id":"r1"}`);
  expect(body).toEqual({
    request_id: "r1",
    result: [1, 2, 3, 4],
    latency_ms: expect.any(Number) as number,
    batch_size: 1,
  });
  expect(headers.get("server-timing")).toContain('worker;desc="worker-1"');
  const rows = await ask(one, "/predict/echo", {
    method: "POST",
    body: `{"data":[[1,2,3,4],[5,6,7,8]]}`,
    headers: { "x-request-id": "mine" },
  });
  expect(rows.body).toMatchObject({
    request_id: "mine",
    result: [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ],
    batch_size: 2,
  });

  const models = [testModel({ name: "b" }), testModel({ name: "a" })];
  const refused = await post(appOf(new EchoInference(models)), "/predict", `{"data":[1,2,3,4]}`);
  expect([refused.status, refused.body]).toEqual([
    400,
    { error: 'name a model, as in POST /predict/NAME: "a", "b"', code: "invalid_request" },
  ]);
  const chosen = await post(appOf(new EchoInference(models), { defaultModel: "a" }), "/predict", `{"data":[1,2,3,4]}`);
  expect(chosen.status).toBe(200);
  expect((await post(appOf(new EchoInference([])), "/predict", "{}")).body.code).toBe("unavailable");
});

test("TensorFlow Serving's predict and status", async () => {
  const inference = new EchoInference([
    testModel({ version: "2" }),
    { model: testModel({ version: "10" }), workers: 0, isDefault: false },
    testModel({ name: "broken", state: "failed", reason: "bad file" }),
  ]);
  const app = appOf(inference);
  const { status, headers, body } = await post(app, "/v1/models/echo/versions/2:predict", '{"instances":[[1,2,3,4]]}');
  expect([status, body]).toEqual([200, { predictions: [[1, 2, 3, 4]] }]);
  expect(headers.get("server-timing")).toContain("compute;dur=");
  const columns = await post(appOf(), "/v1/models/echo:predict", '{"inputs":{"x":[[1,2,3,4]]}}');
  expect(columns.body).toEqual({ outputs: [[1, 2, 3, 4]] });
  expect((await post(app, "/v1/models/none:predict", "{}")).body.code).toBe("model_not_found");
  const bare = await post(app, "/v1/models/echo", "{}");
  expect([bare.status, bare.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  for (const [path, allow] of [
    ["/v1/models/echo", "GET, HEAD"],
    ["/v1/models/echo:predict", "POST"],
    ["/v1/models/echo/versions/2", "GET, HEAD"],
    ["/v1/models/echo/versions/2:predict", "POST"],
  ] as const) {
    const other = await ask(app, path, { method: "DELETE" });
    expect([other.status, other.headers.get("allow")], path).toEqual([405, allow]);
  }
  expect((await post(app, "/v1/models/echo:explain", "{}")).body.code).toBe("not_found");
  const ok = { error_code: "OK", error_message: "" };
  expect((await ask(app, "/v1/models/echo")).body).toEqual({
    model_version_status: [
      { version: "10", state: "END", status: { error_code: "UNAVAILABLE", error_message: "no worker serves it" } },
      { version: "2", state: "AVAILABLE", status: ok },
    ],
  });
  expect((await ask(app, "/v1/models/echo/versions/2")).body).toEqual({
    model_version_status: [{ version: "2", state: "AVAILABLE", status: ok }],
  });
  expect((await ask(app, "/v1/models/broken")).body).toMatchObject({
    model_version_status: [{ state: "END", status: { error_message: "bad file" } }],
  });
  expect((await ask(app, "/v1/models/echo/versions/3")).status).toBe(404);
});

test("the budget: from header, parameter, model or option, minus the time already used", async () => {
  const inference = new EchoInference([testModel({ timeoutMs: 700 }), testModel({ name: "plain" })]);
  const budgets: number[] = [];
  inference.respond = (request) => {
    budgets.push(request.budgetMs);
    return echoOf(request);
  };
  const app = appOf(inference, { requestTimeoutMs: 900, requestTimeoutMsMax: 2000 });
  await infer(app, inferBody(undefined, { parameters: { timeout: 600_000 } }), { "x-request-timeout-ms": "500" });
  await infer(app, inferBody(undefined, { parameters: { timeout: 600_000 } }));
  await infer(app);
  await post(app, "/v2/models/plain/infer", inferBody());
  await infer(app, inferBody(), { "x-request-timeout-ms": "999999" });
  for (const [i, timeoutMs] of [500, 600, 700, 900, 2000].entries()) {
    expect(budgets[i]).toBeLessThan(timeoutMs);
    expect(budgets[i]).toBeGreaterThan(timeoutMs - 400);
  }
  const wrong = await infer(app, inferBody(), { "x-request-timeout-ms": "soon" });
  expect([wrong.status, wrong.body.code]).toEqual([400, "invalid_request"]);
});

test("a budget that is used up before the hand-over is 504, and nothing is submitted", async () => {
  const inference = new EchoInference();
  const app = appOf(inference, { testDelay: "parse:30" });
  const { status, body } = await infer(app, inferBody(), { "x-request-timeout-ms": "5" });
  expect([status, body.code, inference.submitted]).toEqual([504, "deadline_exceeded", 0]);
});

test("test delays appear in their stages", async () => {
  // The clock moves only here, so that nothing else the machine does is measured.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const inlineJsonBytesMax = 1024;
  const app = appOf(undefined, { testDelay: "parse:21,preprocess:22,postprocess:23,encode:24", inlineJsonBytesMax });
  const clock = setInterval(() => vi.advanceTimersByTime(1), 1);
  onTestFinished(() => clearInterval(clock));
  const timing = (await infer(app)).headers.get("server-timing");
  for (const stage of ["parse;dur=21", "preprocess;dur=22", "postprocess;dur=23", "encode;dur=24"]) {
    expect(timing).toContain(`${stage},`);
  }
});

test("errors of the broker side keep their code, their wait and the stages' times", async () => {
  const inference = new EchoInference();
  inference.respond = () => ({ ok: false, code: "shed", message: "busy", retryAfterMs: 2100, stages: TEST_STAGES });
  const { status, headers, body } = await infer(appOf(inference));
  expect([status, body, headers.get("retry-after")]).toEqual([429, { error: "busy", code: "shed" }, "3"]);
  expect(headers.get("server-timing")).toMatch(/^parse;.*, encode;dur=[\d.]+$/);
});

test("an answer that JSON cannot carry is an error of the model", async () => {
  const inference = new EchoInference();
  inference.respond = (request) => {
    const answer = echoOf(request);
    const data = new Uint8Array(Float32Array.of(Number.NaN, 0, 0, 0).buffer);
    return answer.ok ? { ...answer, outputs: [{ ...answer.outputs[0]!, data }] } : answer;
  };
  const { status, body } = await infer(appOf(inference));
  expect([status, body.code]).toEqual([500, "output_not_json"]);
});

test("an output that travels as bytes only is refused in JSON, before the run, and answered as bytes", async () => {
  const outputs = [
    { name: "half", datatype: "FP16", shape: [-1, 8] },
    { name: "y", datatype: "FP32", shape: [-1, 4] },
  ] as const;
  const inference = new EchoInference([testModel({ outputs })]);
  inference.respond = (request) => {
    const answer = echoOf(request);
    const [half, y] = answer.ok ? answer.outputs : [];
    return answer.ok ? { ...answer, outputs: [{ ...half!, shape: [1, 8] }, y!] } : answer;
  };
  const app = appOf(inference);
  const error =
    'output "half" is FP16, which JSON cannot carry: ask for it as bytes, with "parameters": {"binary_data": true}, at /v2/models/NAME/infer';
  const refused = [
    infer(app),
    infer(app, inferBody(undefined, { outputs: [] })),
    infer(app, inferBody(undefined, { outputs: [{ name: "y" }, { name: "half" }] })),
    infer(
      app,
      inferBody(undefined, {
        outputs: [{ name: "half", parameters: { binary_data: false } }],
        parameters: { binary_data_output: true },
      }),
    ),
    post(app, "/predict/echo", '{"data":[1,2,3,4]}'),
    post(app, "/v1/models/echo:predict", '{"instances":[[1,2,3,4]]}'),
  ];
  for (const { status, body } of await Promise.all(refused)) {
    expect([status, body]).toEqual([400, { error, code: "invalid_datatype" }]);
  }
  expect(inference.submitted).toBe(0);
  expect((await infer(app, inferBody(undefined, { outputs: [{ name: "y" }] }))).status).toBe(200);
  for (const asked of [
    { outputs: [{ name: "half", parameters: { binary_data: true } }] },
    { parameters: { binary_data_output: true } },
  ]) {
    const response = await app.request("/v2/models/echo/infer", { method: "POST", body: inferBody(undefined, asked) });
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/octet-stream"]);
  }
});

test("an answer that no string holds is too large; any other error of range is a defect, and reported", async () => {
  const inference = new EchoInference();
  let data: unknown;
  inference.respond = (request) => {
    const answer = echoOf(request);
    const y = { name: "y", datatype: "FP32" as const, shape: [1], data: data as Uint8Array };
    return answer.ok ? { ...answer, outputs: [y] } : answer;
  };
  data = {
    byteLength: 4,
    byteOffset: 0,
    get buffer() {
      return "x".repeat(2 ** 30);
    },
  };
  const app = appOf(inference, { inlineJsonBytesMax: 1024 });
  expect((await infer(app)).body.code).toBe("answer_too_large");
  data = { byteLength: 4, byteOffset: 8, buffer: new ArrayBuffer(4) };
  expect((await infer(app)).body.code).toBe("internal");
  expect(defects.pop()).toBeInstanceOf(RangeError);
});

test("a defect behind the seam is 500 without its details, and is reported", async () => {
  const inference = new EchoInference();
  inference.submit = () => {
    throw new Error("secret");
  };
  const app = appOf(inference);
  const { status, body } = await infer(app);
  expect([status, body.code]).toEqual([500, "internal"]);
  expect(body.error).not.toContain("secret");
  expect(defects.pop()).toMatchObject({ message: "secret" });
  inference.unreadyReason = () => {
    throw new Error("secret too");
  };
  expect((await ask(app, "/readyz")).body.code).toBe("internal");
  expect(defects.pop()).toMatchObject({ message: "secret too" });
  expect(app.inFlight()).toBe(0);
});

test("features that are missing are refused by name", async () => {
  const app = appOf();
  const headers = { "inference-header-content-length": "10" };
  const binary = await ask(app, "/predict", { method: "POST", body: inferBody(), headers });
  expect([binary.status, binary.body.error]).toEqual([
    501,
    "binary tensor data (header Inference-Header-Content-Length) is not supported here",
  ]);
  const compressed = await infer(app, inferBody(), { "content-encoding": "br" });
  expect([compressed.status, compressed.body, compressed.headers.get("accept-encoding")]).toEqual([
    501,
    { error: 'Content-Encoding "br" is not supported; gzip, deflate are', code: "unsupported" },
    "gzip, deflate",
  ]);
  expect((await infer(app, inferBody(), { "content-encoding": "identity" })).status).toBe(200);
  for (const { path, feature } of UNSUPPORTED_ROUTES) {
    for (const method of ["GET", "POST"]) {
      const { status, body } = await ask(app, path.replaceAll(/:\w+|\*/g, "z"), { method });
      expect([status, body]).toEqual([501, { error: `${feature} is not supported`, code: "unsupported" }]);
    }
  }
  for (const path of ["/v1/models/echo:classify", "/v1/models/echo/versions/1:regress"]) {
    expect(await post(app, path, "{}")).toMatchObject({ status: 501, body: { code: "unsupported" } });
  }
});

test("health: live always, ready unless draining or cut off; a full gateway is healthy", async () => {
  let draining = false;
  const inference = new EchoInference();
  const app = appOf(inference, { isDraining: () => draining });
  for (const path of ["/livez", "/health", "/v2/health/live"]) {
    expect(await ask(app, path)).toMatchObject({ status: 200, body: { live: true } });
  }
  const readies = ["/readyz", "/readiness", "/v2/health/ready"];
  for (const path of readies) expect(await ask(app, path)).toMatchObject({ status: 200, body: { ready: true } });
  inference.reason = "no broker session";
  for (const path of readies) {
    expect(await ask(app, path)).toMatchObject({ status: 503, body: { ready: false, reason: "no broker session" } });
  }
  inference.reason = "";
  draining = true;
  for (const path of readies) expect(await ask(app, path)).toMatchObject({ status: 503, body: { ready: false } });
  expect((await ask(app, "/livez")).status).toBe(200);
  for (const { status, headers, body } of [await infer(app), await post(app, "/predict", "{}")]) {
    expect([status, body.code, headers.get("connection"), headers.get("retry-after")]).toEqual([
      503,
      "draining",
      "close",
      "1",
    ]);
  }
});

test("in flight is bounded, and health is not", async () => {
  const inference = new EchoInference();
  inference.isManual = true;
  const app = appOf(inference, { inFlightMax: 1 });
  const first = infer(app);
  expect(app.inFlight()).toBe(1);
  const { status, headers, body } = await infer(app);
  expect([status, body.code, headers.get("retry-after")]).toEqual([429, "queue_full", "1"]);
  expect((await ask(app, "/readyz")).status).toBe(200);
  expect((await ask(app, "/v2/models/echo")).status).toBe(200);
  await expect.poll(() => inference.pending.size).toBe(1);
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect((await first).status).toBe(200);
  expect(app.inFlight()).toBe(0);
});

test("a client that goes away is cancelled, once, and frees its place", async () => {
  const inference = new EchoInference();
  inference.isManual = true;
  const app = appOf(inference);
  const gone = new AbortController();
  void app.request("/v2/models/echo/infer", { method: "POST", body: inferBody(), signal: gone.signal });
  await expect.poll(() => inference.pending.size).toBe(1);
  gone.abort();
  expect([inference.cancelled, app.inFlight()]).toEqual([[1], 0]);
});

test("metadata of the server and of models", async () => {
  const models = ["1", "10", "9"].map((version) => testModel({ version }));
  const app = appOf(new EchoInference([...models, testModel({ name: "broken", state: "failed", reason: "bad file" })]));
  const server = {
    name: "millrace",
    version: "1.2.3",
    extensions: ["binary_tensor_data", "classification", "model_configuration", "schedule_policy", "statistics"],
  };
  for (const path of ["/v2", "/v2/"]) expect(await ask(app, path)).toMatchObject({ status: 200, body: server });
  const metadata = {
    name: "echo",
    versions: ["1", "9", "10"],
    platform: "simulated",
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 4] }],
  };
  expect((await ask(app, "/v2/models/echo")).body).toEqual(metadata);
  expect((await ask(app, "/v2/models/echo/versions/9")).body).toEqual({ ...metadata, versions: ["9"] });
  expect((await ask(app, "/v2/models/none")).body.code).toBe("model_not_found");
  expect((await ask(app, "/v2/models/broken")).body).toEqual({
    error: 'model "broken" version "1" cannot serve: bad file',
    code: "model_not_ready",
  });
  expect(await ask(app, "/v2/models/echo/ready")).toMatchObject({ status: 200, body: { name: "echo", ready: true } });
  expect(await ask(app, "/v2/models/broken/ready")).toMatchObject({
    status: 503,
    body: { name: "broken", ready: false },
  });
  expect((await ask(app, "/v2/models/echo/versions/10/ready")).status).toBe(200);
  expect((await ask(app, "/v2/models/echo/versions/11/ready")).status).toBe(404);
});

test("the configuration of a model is what Triton's clients need of one", async () => {
  const plain = testModel({
    name: "plain",
    batching: false,
    maxBatchSize: 1,
    platform: "onnxruntime_onnx",
    inputs: [{ name: "x", datatype: "BYTES", shape: [] }],
    outputs: [{ name: "y", datatype: "BF16", shape: [-1, 2] }],
  });
  const rows = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1] }] });
  const app = appOf(new EchoInference([rows, plain, testModel({ name: "broken", state: "failed", reason: "bad" })]));
  expect((await ask(app, "/v2/models/echo/config")).body).toEqual({
    name: "echo",
    platform: "simulated",
    backend: "simulated",
    max_batch_size: 8,
    input: [{ name: "x", data_type: "TYPE_FP32", dims: [1], reshape: { shape: [] } }],
    output: [{ name: "y", data_type: "TYPE_FP32", dims: [4] }],
    dynamic_batching: {},
  });
  expect((await ask(app, "/v2/models/plain/versions/1/config")).body).toEqual({
    name: "plain",
    platform: "onnxruntime_onnx",
    backend: "onnxruntime",
    max_batch_size: 0,
    input: [{ name: "x", data_type: "TYPE_STRING", dims: [1], reshape: { shape: [] } }],
    output: [{ name: "y", data_type: "TYPE_BF16", dims: [-1, 2] }],
  });
  expect((await ask(app, "/v2/models/none/config")).status).toBe(404);
  expect((await ask(app, "/v2/models/plain/versions/2/config")).status).toBe(404);
  expect((await ask(app, "/v2/models/broken/config")).status).toBe(503);
});

test("statistics of one version, of one model, of all; unsigned integers throughout, zeros before the first request", async () => {
  const inference = new EchoInference(["1", "10", "9"].map((version) => testModel({ version })));
  const counts = { requests: 3, failures: 2, rows: 5, batches: 2, requestUs: 600, failureUs: 50 };
  const times = { queueUs: 100, inputUs: 20, computeUs: 400, outputUs: 80, lastMs: 1_700_000_000_123 };
  inference.totals = [
    { model: "echo", version: "9", ...counts, ...times },
    { model: "gone", version: "1", ...counts, ...times },
  ];
  const app = appOf(inference);
  const statsOf = async (path: string) => {
    const { status, body } = await ask(app, path);
    expect(status).toBe(200);
    return body.model_stats as { version: string }[];
  };
  const never = { count: 0, ns: 0 };
  const nine = {
    name: "echo",
    version: "9",
    last_inference: 1_700_000_000_123,
    inference_count: 5,
    execution_count: 2,
    inference_stats: {
      success: { count: 3, ns: 600_000 },
      fail: { count: 2, ns: 50_000 },
      queue: { count: 3, ns: 100_000 },
      compute_input: { count: 3, ns: 20_000 },
      compute_infer: { count: 3, ns: 400_000 },
      compute_output: { count: 3, ns: 80_000 },
      cache_hit: never,
      cache_miss: never,
    },
    batch_stats: [],
  };
  expect(await statsOf("/v2/models/echo/versions/9/stats")).toEqual([nine]);
  for (const path of ["/v2/models/echo/stats", "/v2/models/stats"]) {
    const stats = await statsOf(path);
    expect(stats.map(({ version }) => version)).toEqual(["1", "9", "10"]);
    expect(stats[1]).toEqual(nine);
    expect(stats[0]).toMatchObject({ last_inference: 0, inference_count: 0, inference_stats: { queue: never } });
  }
  expect((await ask(app, "/v2/models/none/stats")).status).toBe(404);
  expect((await ask(app, "/v2/models/echo/versions/2/stats")).status).toBe(404);
  const named = appOf(new EchoInference([testModel({ name: "stats" })]));
  expect((await ask(named, "/v2/models/stats")).body).toMatchObject({ name: "stats", inputs: [{}] });
});

test("the repository index tells every version's state", async () => {
  const app = appOf(
    new EchoInference([
      testModel({ name: "b", state: "failed", reason: "bad file" }),
      { model: testModel({ name: "c" }), workers: 0, isDefault: true },
      testModel({ name: "a", version: "10" }),
      testModel({ name: "a", version: "9" }),
      testModel({ name: "d", state: "loading" }),
    ]),
  );
  const index = async (body?: string): Promise<unknown> => {
    const response = await app.request("/v2/repository/index", {
      method: "POST",
      ...(body === undefined ? {} : { body }),
    });
    return response.json();
  };
  const ready = [
    { name: "a", version: "9", state: "READY", reason: "" },
    { name: "a", version: "10", state: "READY", reason: "" },
  ];
  expect(await index()).toEqual([
    ...ready,
    { name: "b", version: "1", state: "UNAVAILABLE", reason: "bad file" },
    { name: "c", version: "1", state: "UNAVAILABLE", reason: "no worker serves it" },
    { name: "d", version: "1", state: "LOADING", reason: "" },
  ]);
  expect(await index('{"ready":true}')).toEqual(ready);
  expect(await index("[]")).toMatchObject({ code: "invalid_request" });
  expect(await index("{")).toMatchObject({ code: "invalid_json" });
  expect(await index('{"ready":1}')).toMatchObject({ code: "invalid_request" });
});

test("docs/http.md: every route that it lists is there, with the method that it says", async () => {
  const page = readFileSync(new URL("../../../docs/http.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(GET|POST) .*?\|/gm)];
  expect(rows.length).toBeGreaterThan(10);
  const app = appOf();
  for (const [row, method = ""] of rows) {
    for (const [, path = ""] of row.matchAll(/`(?:GET |POST )?(\/[^`]*)`/g)) {
      for (const optional of ["", "$1"]) {
        const target = path
          .replace(/\[(.*?)\]/, optional)
          .replace(/\bM\b/, "echo")
          .replace(/\bV\b/, "1");
        const { status } = await app.request(target, { method });
        expect([target, [200, 400].includes(status)]).toEqual([target, true]);
      }
    }
  }
});

test("unknown paths are 404, other methods 405 with Allow, HEAD follows GET", async () => {
  const app = appOf();
  for (const path of ["/", "/v3", "/v2/models", "/v2/models/a/b/c", "/predict/a/b", "/constructor", "/%00", "/%zz"]) {
    expect(await ask(app, path)).toMatchObject({ status: 404, body: { code: "not_found" } });
  }
  const allow = async (method: string, path: string): Promise<unknown> => {
    const { status, headers } = await ask(app, path, { method });
    return [status, headers.get("allow")];
  };
  expect(await allow("POST", "/readyz")).toEqual([405, "GET, HEAD"]);
  expect(await allow("DELETE", "/v2/models/echo")).toEqual([405, "GET, HEAD"]);
  expect(await allow("GET", "/v2/models/echo/infer")).toEqual([405, "POST"]);
  expect(await allow("GET", "/v2/repository/index")).toEqual([405, "POST"]);
  expect(await allow("HEAD", "/predict")).toEqual([405, "POST"]);
  expect(await allow("OPTIONS", "/predict/echo")).toEqual([405, "POST"]);
  // Ever so many colons are looked at once.
  const startedMs = performance.now();
  expect(await allow("DELETE", `/v1/models/${":".repeat(40_000)}/versions/2`)).toEqual([405, "GET, HEAD"]);
  expect(performance.now() - startedMs).toBeLessThan(500);
  for (const path of ["/livez", "/readyz", "/v2", "/v2/models/echo", "/v2/models/echo/ready"]) {
    const head = await app.request(path, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  }
});

/** Sends a binary request for one row of `testModel()`, its numbers as bytes; gives status, headers and the bytes of the answer. */
async function inferBinary(app: GatewayApp, json: string, given: Record<string, string> = {}) {
  const data = new Uint8Array(Float32Array.of(1, 2, 3, Number.NaN).buffer);
  const headers = { "inference-header-content-length": String(Buffer.byteLength(json)), ...given };
  const body = Buffer.concat([Buffer.from(json), data]);
  const response = await app.request("/v2/models/echo/infer", { method: "POST", body, headers });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()), data };
}

const BINARY_INPUT = { name: "x", datatype: "FP32", shape: [1, 4], parameters: { binary_data_size: 16 } };

test("binary tensors in and out, with their header; NaN among them", async () => {
  const parameters = { binary_data_output: true };
  const answer = await inferBinary(appOf(), JSON.stringify({ id: "b", parameters, inputs: [BINARY_INPUT] }));
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/octet-stream"]);
  const jsonBytes = Number(answer.headers.get("inference-header-content-length"));
  expect(JSON.parse(answer.bytes.toString("utf8", 0, jsonBytes))).toEqual({
    id: "b",
    model_name: "echo",
    model_version: "1",
    outputs: [{ name: "y", datatype: "FP32", shape: [1, 4], parameters: { binary_data_size: 16 } }],
  });
  expect(answer.bytes.subarray(jsonBytes)).toEqual(Buffer.from(answer.data));
  expect(answer.headers.get("server-timing")).toContain("compute;dur=");
  const asJson = await inferBinary(appOf(), JSON.stringify({ inputs: [BINARY_INPUT] }));
  expect([asJson.status, JSON.parse(asJson.bytes.toString())]).toMatchObject([500, { code: "output_not_json" }]);
  expect(asJson.headers.get("inference-header-content-length")).toBeNull();
  const raw = await inferBinary(appOf(), "");
  expect([raw.status, raw.headers.get("content-type")]).toEqual([200, "application/octet-stream"]);
});

test("the limits of JSON and of bodies hold for binary ones; the content type does not matter", async () => {
  const json = JSON.stringify({ inputs: [BINARY_INPUT] });
  const codeOf = async (given: Partial<GatewayOptions>, headers: Record<string, string> = {}) => {
    const { status, bytes } = await inferBinary(appOf(undefined, given), json, headers);
    return [status, (JSON.parse(bytes.toString()) as { code: string }).code];
  };
  expect(await codeOf({ jsonBytesMax: json.length - 1 })).toEqual([413, "body_too_large"]);
  expect(await codeOf({ bodyBytesMax: json.length + 15 })).toEqual([413, "body_too_large"]);
  expect(await codeOf({}, { "inference-header-content-length": "-1" })).toEqual([400, "invalid_request"]);
  expect(await codeOf({}, { "inference-header-content-length": "100000" })).toEqual([400, "invalid_request"]);
  const parameters = { binary_data_output: true };
  for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const body = JSON.stringify({ parameters, inputs: [BINARY_INPUT] });
    expect(await inferBinary(appOf(), body, { "content-type": type })).toMatchObject({ status: 200 });
    expect((await infer(appOf(), inferBody(), { "content-type": type })).status).toBe(200);
  }
});

const wide = testModel({
  maxBatchSize: 1000,
  maxRequestRows: 1000,
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
});
const wideValues = Array.from({ length: 400 }, (_, i) => i / 8);
const wideBlob = Buffer.from(Float32Array.from(wideValues).buffer);
const wideJson = JSON.stringify({
  parameters: { binary_data_output: true },
  inputs: [{ name: "x", datatype: "FP32", shape: [100, 4], parameters: { binary_data_size: 1600 } }],
});

test("bodies and answers in gzip and deflate, JSON and binary: the JSON's length counts expanded bytes", async () => {
  const app = appOf(new EchoInference([wide]));
  for (const [coding, compress, expand] of [
    ["gzip", gzipSync, gunzipSync],
    ["deflate", deflateSync, inflateSync],
  ] as const) {
    const given = { "content-encoding": coding, "accept-encoding": coding };
    const ask = async (body: Buffer, more: Record<string, string> = {}) => {
      const init = { method: "POST", body: compress(body), headers: { ...given, ...more } };
      const response = await app.request("/v2/models/echo/infer", init);
      const compressed = Buffer.from(await response.arrayBuffer());
      expect([response.status, response.headers.get("content-encoding")]).toEqual([200, coding]);
      expect(response.headers.get("server-timing")).toContain("encode;dur=");
      return { headers: response.headers, bytes: expand(compressed) };
    };
    const json = await ask(Buffer.from(inferBody(wideValues)));
    expect(json.headers.get("content-type")).toBe("application/json");
    expect(JSON.parse(json.bytes.toString())).toMatchObject({ outputs: [{ data: wideValues }] });
    const length = { "inference-header-content-length": String(wideJson.length) };
    const binary = await ask(Buffer.concat([Buffer.from(wideJson), wideBlob]), length);
    expect(binary.headers.get("content-type")).toBe("application/octet-stream");
    const jsonBytes = Number(binary.headers.get("inference-header-content-length"));
    expect(binary.bytes.subarray(jsonBytes)).toEqual(wideBlob);
  }
});

test("answers that are short, or errors, or not asked for in a coding are sent as they are", async () => {
  const app = appOf(new EchoInference([wide]));
  for (const [body, accept] of [
    [inferBody(), "gzip"],
    ["{", "gzip"],
    [inferBody(wideValues), "br"],
    [inferBody(wideValues), "gzip;q=0"],
  ] as const) {
    const { headers } = await infer(app, body, { "accept-encoding": accept });
    expect(headers.get("content-encoding")).toBeNull();
  }
});

test("bombs, broken and cut compressed bodies are refused; the limit holds for what comes out", async () => {
  const app = appOf(undefined, { jsonBytesMax: 100_000, bodyBytesMax: 200_000 });
  const refusal = async (body: Buffer<ArrayBuffer>, more: Record<string, string> = {}) => {
    const headers = { "content-encoding": "gzip", ...more };
    const { status, body: answer } = await ask(app, "/v2/models/echo/infer", { method: "POST", body, headers });
    return [status, answer.code, answer.error];
  };
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, " "));
  expect(bomb.byteLength).toBeLessThan(100_000);
  const before = process.memoryUsage().arrayBuffers;
  expect(await refusal(bomb)).toEqual([413, "body_too_large", "the body is larger than 100000 bytes"]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  expect(await refusal(bomb, { "inference-header-content-length": "2" })).toEqual([
    413,
    "body_too_large",
    "the body is larger than 200000 bytes",
  ]);
  const good = gzipSync(inferBody());
  expect((await refusal(good.subarray(0, -9))).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect((await refusal(Buffer.concat([good, Buffer.from("more")]))).slice(0, 2)).toEqual([400, "invalid_request"]);
  const deflated = Buffer.concat([deflateSync(inferBody()), Buffer.from("more")]);
  expect((await refusal(deflated, { "content-encoding": "deflate" })).slice(0, 2)).toEqual([400, "invalid_request"]);
  const members = Buffer.concat([gzipSync(inferBody().slice(0, 9)), gzipSync(inferBody().slice(9))]);
  const whole = { method: "POST", body: members, headers: { "content-encoding": "gzip" } };
  expect((await ask(app, "/v2/models/echo/infer", whole)).status).toBe(200);
  expect((await refusal(Buffer.from(inferBody()))).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect((await refusal(deflateSync(inferBody()))).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect((await refusal(gzipSync(""))).slice(0, 2)).toEqual([400, "invalid_json"]);
  expect((await refusal(Buffer.alloc(0))).slice(0, 1)).toEqual([400]);
  expect(app.inFlight()).toBe(0);
});

test("any cut or flipped bit of a compressed body: an error in the form, or the very answer", async () => {
  const app = appOf(new EchoInference([wide]));
  const json = Buffer.from(wideJson);
  const whole = Buffer.concat([json, wideBlob]);
  const headers = { "inference-header-content-length": String(json.byteLength) };
  const change = fc.record({
    coding: fc.constantFrom("gzip" as const, "deflate" as const, "identity" as const),
    kind: fc.constantFrom("cut", "flip", "none"),
    at: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ coding, kind, at }) => {
      const sent = coding === "gzip" ? gzipSync(whole) : coding === "deflate" ? deflateSync(whole) : Buffer.from(whole);
      const where = at % sent.byteLength;
      if (kind === "flip") sent[where]! ^= 1 << (at % 8);
      const body = kind === "cut" ? sent.subarray(0, where) : sent;
      const init = { method: "POST", body, headers: { ...headers, "content-encoding": coding } };
      const response = await app.request("/v2/models/echo/infer", init);
      const bytes = Buffer.from(await response.arrayBuffer());
      if (response.status !== 200) {
        expect([400, 404, 500, 501]).toContain(response.status);
        expect(Object.keys(JSON.parse(bytes.toString()) as object)).toEqual(["error", "code"]);
        return;
      }
      const jsonBytes = Number(response.headers.get("inference-header-content-length"));
      if (kind !== "flip" || coding !== "identity") expect(bytes.subarray(jsonBytes)).toEqual(wideBlob);
    }),
    { numRuns: 300 },
  );
});

test("bodies that are not UTF-8, not JSON or too large", async () => {
  const app = appOf(undefined, { jsonBytesMax: 1024 });
  const bytes = async (body: Uint8Array<ArrayBuffer>): Promise<unknown> => {
    const response = await app.request("/v2/models/echo/infer", { method: "POST", body });
    return [response.status, ((await response.json()) as { code: string }).code];
  };
  expect(await bytes(Uint8Array.of(0x7b, 0xff, 0x7d))).toEqual([400, "invalid_json"]);
  expect(await bytes(Uint8Array.of())).toEqual([400, "invalid_json"]);
  expect(await bytes(new TextEncoder().encode("{"))).toEqual([400, "invalid_json"]);
  expect(await bytes(new Uint8Array(1025))).toEqual([413, "body_too_large"]);
});

test("who watches hears of every call that begins, and once of every end", async () => {
  const inference = new EchoInference();
  const app = appOf(inference);
  begun.length = ends.length = 0;
  await post(app, "/v2/models/echo/infer", inferBody());
  await post(app, "/v2/models/echo/infer", "not JSON");
  await post(app, "/v2/models/nobody/infer", inferBody());
  await post(app, "/nowhere?secret=1", "");
  await ask(app, "/v2/models/echo/infer");
  await ask(app, "/readyz");
  expect(begun).toEqual(["echo", "echo"]);
  const told = ends.map(({ exchange, status, code, model }) => [exchange.path, status, code, model?.name]);
  expect(told).toEqual([
    ["/v2/models/echo/infer", 200, undefined, "echo"],
    ["/v2/models/echo/infer", 400, "invalid_json", "echo"],
    ["/v2/models/nobody/infer", 404, "model_not_found", undefined],
    ["/nowhere", 404, "not_found", undefined],
    ["/v2/models/echo/infer", 405, "method_not_allowed", undefined],
  ]);
  expect(ends.map(({ stages }) => stages?.behind)).toEqual([TEST_STAGES, ...Array<undefined>(4)]);
});

test("a body that another thread parses is cancelled with its client, and given up when its time is over", async () => {
  const cancelled: FormJob[] = [];
  let parsed = 0;
  const formThreads = {
    read: (task: ReadTask): FormJob => {
      parsed++;
      return { task, onEnd: () => {} };
    },
    write: (): never => {
      throw new Error("nothing to write");
    },
    cancel: (job: FormJob): void => void cancelled.push(job),
  };
  const app = appOf(new EchoInference(), { inlineJsonBytesMax: 0, formThreads });
  const late = await infer(app, inferBody(), { "x-request-timeout-ms": "30" });
  expect([late.status, late.body.code]).toEqual([504, "deadline_exceeded"]);
  expect(cancelled).toHaveLength(1);
  const gone = new AbortController();
  void app.request("/v2/models/echo/infer", { method: "POST", body: inferBody(), signal: gone.signal });
  await expect.poll(() => parsed).toBe(2);
  gone.abort();
  expect([cancelled.length, app.inFlight()]).toEqual([2, 0]);
});

test("an answer that another thread writes is cancelled with its client, and given up when its time is over", async () => {
  const cancelled: FormJob[] = [];
  const written: WriteTask[] = [];
  const formThreads = {
    read: testFormPool.read.bind(testFormPool),
    write: (task: WriteTask): FormJob => {
      written.push(task);
      return { task, onEnd: () => {} };
    },
    cancel: (job: FormJob): void => void cancelled.push(job),
  };
  const app = appOf(new EchoInference(), { inlineJsonBytesMax: 0, formThreads });
  const late = await infer(app, inferBody(), { "x-request-timeout-ms": "2000" });
  expect([late.status, late.body.code]).toEqual([504, "deadline_exceeded"]);
  expect(late.headers.get("server-timing")).toMatch(/ compute;dur=0.044,.* encode;dur=\d{2,}/);
  expect(cancelled.map(({ task }) => task)).toEqual(written);
  const gone = new AbortController();
  void app.request("/v2/models/echo/infer", { method: "POST", body: inferBody(), signal: gone.signal });
  await expect.poll(() => written.length).toBe(2);
  gone.abort();
  expect([cancelled.map(({ task }) => task), app.inFlight()]).toEqual([written, 0]);
});

test("a class is asked for by the header, else by the parameter", async () => {
  const asked: number[] = [];
  const inference = new EchoInference();
  inference.respond = (request) => {
    asked.push(request.priority);
    return echoOf(request);
  };
  const app = appOf(inference);
  const body = inferBody([1, 2, 3, 4], { parameters: { priority: 3 } });
  await infer(app, body);
  await infer(app, body, { priority: "realtime" });
  await infer(app, body, { priority: "u=1, i" });
  await infer(app);
  expect(asked).toEqual([3, 1, 3, 0]);
  const { status, body: refusal } = await infer(app, body, { priority: "now" });
  expect([status, refusal.code]).toEqual([400, "invalid_request"]);
  expect(inference.submitted).toBe(4);
});

test("keys are asked for where there are some, and tell the tenant; what is not inference needs none", async () => {
  const tenants: string[] = [];
  const inference = new EchoInference();
  inference.respond = (request) => {
    tenants.push(request.tenant);
    return echoOf(request);
  };
  const app = appOf(inference, { apiKeys: parseApiKeys("acme 0123456789abcdef\n") });
  const refused = await infer(app);
  expect([refused.status, refused.body.code]).toEqual([401, "unauthenticated"]);
  expect(refused.headers.get("www-authenticate")).toBe("Bearer");
  const key = { "x-api-key": "0123456789abcdef" };
  expect((await infer(app, inferBody(), { ...key, "x-tenant": "other" })).status).toBe(403);
  expect((await infer(app, inferBody(), key)).status).toBe(200);
  expect((await infer(appOf(inference), inferBody(), { "x-tenant": "other" })).status).toBe(200);
  expect((await infer(appOf(inference, { trustTenant: true }), inferBody(), { "x-tenant": "other" })).status).toBe(200);
  expect(tenants).toEqual(["acme", "", "other"]);
  expect((await ask(app, "/v2/health/ready")).status).toBe(200);
});
