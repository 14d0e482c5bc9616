import type { HookContext, HookModule, HookRecord, Tensors } from "@millrace/hooks";
import { elementsOf, InvalidRequest, LookupFailed } from "@millrace/hooks";
import type { Logger } from "@millrace/runtime";
import { afterEach, expect, test } from "vitest";
import { createApp } from "../app.ts";
import type { CallEnd } from "../call/call-end.ts";
import {
  EchoInference,
  inferBody,
  type Submitted,
  TEST_STAGES,
  testModel,
  testOptions,
  testFormPool,
} from "../testing.ts";
import { readHookModule } from "./hook-module.ts";
import { HookedInference, type HookObserver } from "./hooked-inference.ts";

/** What was counted and logged in the present test. */
const counted: string[] = [];
const logged: Record<string, unknown>[] = [];
const ends: CallEnd[] = [];
const running = new Map<string, number>();

const observer: HookObserver = {
  know: () => {},
  began: (_model, hook) => void running.set(hook, (running.get(hook) ?? 0) + 1),
  left: (_model, hook) => void running.set(hook, (running.get(hook) ?? 0) - 1),
  ended: (_model, hook, outcome) => void counted.push(`${hook} ${outcome}`),
  event: (_model, event, times) => void counted.push(`${event} ${times}`),
};

const line = (fields: Record<string, unknown>): void => void logged.push(fields);
const logger = { debug: line, info: () => {}, warn: line, error: line } as unknown as Logger;

afterEach(() => {
  counted.length = 0;
  logged.length = 0;
  ends.length = 0;
  running.clear();
});

/** A gateway whose models echo, with these hooks around `echo`; `plain` has none. */
function gatewayWith(module: HookModule, inner = new EchoInference([testModel(), testModel({ name: "plain" })])) {
  const found = new Map([["echo", { path: "/hooks.ts", hooks: readHookModule(module) }]]);
  const inference = new HookedInference({ inner, found, logger, observer, inFlightMax: 3 });
  const app = createApp({
    inference,
    options: testOptions(),
    formThreads: testFormPool,
    version: "1",
    isDraining: () => false,
    isRefusing: () => false,
    onDefect: (error) => {
      throw error;
    },
    observer: { began: () => {}, ended: (end) => void ends.push(end) },
  });
  const ask = async (given: {
    model?: string;
    body?: string;
    headers?: Record<string, string>;
    signal?: AbortSignal;
  }) => {
    const { model = "echo", body = inferBody(), headers = {}, signal } = given;
    const init = { method: "POST", body, headers, ...(signal && { signal }) };
    const response = await app.request(`/v2/models/${model}/infer`, init);
    const answer = (await response.json()) as { code?: string; error?: string; outputs?: { data: number[] }[] };
    return { status: response.status, timing: response.headers.get("server-timing") ?? "", answer };
  };
  return { app, inner, inference, ask };
}

const floatsOf = (tensors: Tensors, name: string): Float32Array => elementsOf(tensors, name, "FP32");

/** Two of each of the four values. */
const doubled: NonNullable<HookModule["preprocess"]> = ({ inputs }) => {
  const data = floatsOf(inputs, "x").map((value) => value * 2);
  return { x: { shape: inputs["x"]?.shape ?? [], data } };
};

const SUM = [{ name: "sum", datatype: "FP64", shape: [-1] }] as const;
const summed: NonNullable<HookModule["postprocess"]> = ({ outputs, request }) => {
  const y = floatsOf(outputs, "y");
  const data = Array.from({ length: request.rows }, (_, row) =>
    y.subarray(4 * row, 4 * row + 4).reduce((a, b) => a + b),
  );
  return { sum: { shape: [request.rows], data } };
};

test("preprocess makes the model's inputs, postprocess the client's outputs, and both are stages", async () => {
  const slow: HookModule["preprocess"] = async (request, context) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return doubled(request, context);
  };
  const { ask } = gatewayWith({ preprocess: slow, postprocess: summed, outputs: SUM });
  const { status, answer, timing } = await ask({ body: inferBody([1, 2, 3, 4, 5, 6, 7, 8]) });
  expect(status).toBe(200);
  expect(answer.outputs).toEqual([{ name: "sum", datatype: "FP64", shape: [2], data: [20, 52] }]);
  const preprocessMs = Number(/preprocess;dur=([\d.]+)/.exec(timing)?.[1]);
  expect(preprocessMs).toBeGreaterThan(18);
  expect(ends[0]?.stages?.own.preprocessMs).toBeCloseTo(preprocessMs, 2);
  expect(ends[0]?.stages?.own.encodeMs).toBeLessThan(18);
  expect(counted).toEqual(["preprocess ok", "postprocess ok"]);
});

test("hooks are nothing to other models", async () => {
  const { ask, inner } = gatewayWith({ preprocess: doubled });
  expect((await ask({ model: "plain" })).answer.outputs?.[0]?.data).toEqual([1, 2, 3, 4]);
  expect(counted).toEqual([]);
  expect(inner.submitted).toBe(1);
});

test("a client may ask for some of the outputs, the hook gets all of the model's", async () => {
  const outputs = [...SUM, { name: "first", datatype: "FP32", shape: [-1] }] as const;
  const postprocess: HookModule["postprocess"] = async (answer, context) => ({
    ...(await summed(answer, context)),
    first: { shape: [1], data: [floatsOf(answer.outputs, "y")[0]] },
  });
  const got: string[] = [];
  const after = (record: HookRecord): void => void got.push(...Object.keys(record.outputs));
  const { ask } = gatewayWith({ postprocess, outputs, after });
  const { answer } = await ask({ body: inferBody([1, 2, 3, 4], { outputs: [{ name: "first" }] }) });
  expect(answer.outputs).toEqual([{ name: "first", datatype: "FP32", shape: [1], data: [1] }]);
  expect(got).toEqual(["first"]);
  expect((await ask({ body: inferBody([1, 2, 3, 4], { outputs: [{ name: "y" }] }) })).status).toBe(400);
});

test("one row of a client may be many of the model, if postprocess brings them back", async () => {
  const fanOut: HookModule["preprocess"] = ({ inputs }) => {
    const row = floatsOf(inputs, "x");
    return { x: { shape: [3, 4], data: [...row, ...row, ...row] } };
  };
  const { ask } = gatewayWith({ preprocess: fanOut, postprocess: summed, outputs: SUM });
  expect((await ask({})).answer.outputs?.[0]?.data).toEqual([10]);
  const alone = await gatewayWith({ preprocess: fanOut }).ask({});
  expect([alone.status, alone.answer.code]).toEqual([500, "hook_failed"]);
  expect(String(logged[0]?.["error"])).toContain("it made 3 rows of 1, and there is no postprocess hook");
});

test.for<[string, unknown, { status: number; code: string; error: string; outcome: string }]>([
  [
    "what it throws",
    new Error("secret"),
    { status: 500, code: "hook_failed", error: 'hook preprocess of model "echo" failed', outcome: "error" },
  ],
  [
    "what is no error",
    "secret",
    { status: 500, code: "hook_failed", error: 'hook preprocess of model "echo" failed', outcome: "error" },
  ],
  [
    "a look-up",
    new LookupFailed("secret"),
    {
      status: 503,
      code: "lookup_failed",
      error: 'a look-up of hook preprocess of model "echo" failed',
      outcome: "error",
    },
  ],
  [
    "a client's mistake",
    new InvalidRequest("no user 7"),
    { status: 400, code: "invalid_input", error: "no user 7", outcome: "invalid" },
  ],
])(
  "a hook that fails by %s is told with its code, at once or later",
  async ([, error, { status, code, error: text, outcome }]) => {
    const fail = (): never => {
      throw error;
    };
    for (const preprocess of [fail, async () => fail()]) {
      const { ask, inner } = gatewayWith({ preprocess });
      expect(await ask({})).toMatchObject({ status, answer: { error: text, code } });
      expect(inner.submitted).toBe(0);
    }
    expect(counted).toEqual([`preprocess ${outcome}`, `preprocess ${outcome}`]);
    expect(logged.map((fields) => fields["error"])).toEqual(outcome === "invalid" ? [] : [error, error]);
    expect([...running.values()]).toEqual([0]);
  },
);

test("a result that cannot be used is the hook's failure, before and after the model", async () => {
  const wrong = { preprocess: () => ({ x: { shape: [1, 3], data: [1, 2, 3] } }) };
  expect((await gatewayWith(wrong).ask({})).answer.code).toBe("hook_failed");
  const rows = { postprocess: () => ({ y: { shape: [2, 4], data: new Float32Array(8) } }) };
  const { status, answer, timing } = await gatewayWith(rows).ask({});
  expect([status, answer.code]).toEqual([500, "hook_failed"]);
  expect(timing).toContain("compute;dur=0.044");
  expect(logged.map(({ error }) => (error as Error).message)).toEqual([
    '"x": its shape is [1,3], expected is [-1,4]',
    '"y" has 2 rows, the request has 1',
  ]);
});

test("a result that throws when it is looked at is the hook's failure, and nothing stays in flight", async () => {
  const shape = new Proxy([1, 4], { get: () => fail() });
  const fail = (): never => {
    throw new Error("secret");
  };
  const lazy = {
    get x(): never {
      return fail();
    },
  };
  for (const module of [{ preprocess: () => lazy }, { postprocess: () => ({ y: { shape, data: [1, 2, 3, 4] } }) }]) {
    const { ask, app } = gatewayWith(module);
    const { status, answer } = await ask({ headers: { "x-request-timeout-ms": "60000" } });
    expect([status, answer.code, app.inFlight()]).toEqual([500, "hook_failed", 0]);
    expect(answer.error).not.toContain("secret");
  }
  expect(counted).toEqual(["preprocess error", "postprocess error"]);
  expect(logged.map(({ error }) => (error as Error).message)).toEqual(["secret", "secret"]);
});

test("what a hook throws may throw when it is looked at: the request is answered, and the log has a line", async () => {
  const hostile = new Proxy(new Error("secret"), {
    getPrototypeOf: () => {
      throw new Error("secret");
    },
  });
  const lines: string[] = [];
  const told = logger.error;
  (logger as { error: unknown }).error = ({ error }: { error?: Error }, text: string): void => {
    // As a serializer does.
    if (error !== undefined) expect(error instanceof Error).toBeDefined();
    lines.push(text);
  };
  const throws = (): Promise<never> => Promise.reject(hostile);
  for (const module of [{ preprocess: throws }, { postprocess: throws }]) {
    const { ask, app } = gatewayWith(module);
    const { status, answer } = await ask({ headers: { "x-request-timeout-ms": "60000" } });
    expect([status, answer.code, app.inFlight()]).toEqual([500, "hook_failed", 0]);
  }
  logger.error = told;
  expect(lines).toEqual(Array(2).fill("a hook failed, with what cannot be told"));
  expect([...running.values()]).toEqual([0, 0]);
});

test("an answer that cannot be made into tensors ends its own request, and throws at nobody who brings answers", async () => {
  const inner = new EchoInference();
  inner.isManual = true;
  const { ask, app } = gatewayWith({ postprocess: ({ outputs }) => ({ y: { ...outputs["y"]! } }) }, inner);
  const asking = ask({ headers: { "x-request-timeout-ms": "60000" } });
  await expect.poll(() => inner.pending.size).toBe(1);
  const [{ answer }] = [...inner.pending.values()] as [Submitted];
  const outputs = [{ name: "y", datatype: "FP32", shape: [1, 4], data: Buffer.alloc(15) }] as const;
  answer({ ok: true, outputs, rows: 1, batchRows: 1, worker: "w", stages: TEST_STAGES });
  expect(await asking).toMatchObject({ status: 500, answer: { code: "hook_failed" } });
  expect([app.inFlight(), counted, [...running.values()]]).toEqual([0, ["postprocess error"], [0]]);
});

test("a hook that is late costs its request 504, hears of it, and counts as running until it ends", async () => {
  const aborted: unknown[] = [];
  const { promise: never, resolve: end } = Promise.withResolvers<never>();
  const late = (_given: unknown, { signal, remainingMs }: HookContext): Promise<never> => {
    expect(remainingMs()).toBeLessThanOrEqual(50);
    signal.addEventListener("abort", () => aborted.push((signal.reason as Error).name));
    return never;
  };
  for (const module of [{ preprocess: late }, { postprocess: late }]) {
    const { ask } = gatewayWith(module);
    const { status, answer } = await ask({ headers: { "x-request-timeout-ms": "50" } });
    expect([status, answer.code]).toEqual([504, "deadline_exceeded"]);
    expect(answer.error).toContain("was not done within the");
  }
  expect(aborted).toEqual(["TimeoutError", "TimeoutError"]);
  expect(counted).toEqual(["preprocess late", "postprocess late"]);
  expect([...running]).toEqual([
    ["preprocess", 1],
    ["postprocess", 1],
  ]);
  end(undefined as never);
  await new Promise(setImmediate);
  expect([...running.values()]).toEqual([0, 0]);
});

test("what a late hook gives at last goes nowhere", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { ask, inner } = gatewayWith({ preprocess: (given, context) => promise.then(() => doubled(given, context)) });
  expect((await ask({ headers: { "x-request-timeout-ms": "20" } })).status).toBe(504);
  resolve();
  await new Promise(setImmediate);
  expect([inner.submitted, counted, [...running.values()]]).toEqual([0, ["preprocess late"], [0]]);
});

test("hooks that never end are bounded: more of them are refused", async () => {
  const { ask } = gatewayWith({ preprocess: () => new Promise(() => {}) });
  const headers = { "x-request-timeout-ms": "20" };
  const answers = await Promise.all(Array.from({ length: 3 }, () => ask({ headers })));
  expect(answers.map(({ status }) => status)).toEqual([504, 504, 504]);
  expect(await ask({ headers })).toMatchObject({ status: 429, answer: { code: "queue_full" } });
});

test("a client that goes away ends its request wherever it is: the hook hears of it, the broker side too", async () => {
  const heard: string[] = [];
  const wait = (_given: unknown, { signal }: HookContext): Promise<never> =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        heard.push((signal.reason as Error).message);
        reject(signal.reason as Error);
      });
    });
  const manual = new EchoInference();
  manual.isManual = true;
  for (const [module, inner] of [
    [{ preprocess: wait }, new EchoInference()],
    [{ postprocess: wait }, new EchoInference()],
    [{ preprocess: doubled }, manual],
  ] as const) {
    const { app } = gatewayWith(module, inner);
    const client = new AbortController();
    const answer = app.request(
      new Request("http://x/v2/models/echo/infer", { method: "POST", body: inferBody(), signal: client.signal }),
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.abort();
    await new Promise(setImmediate);
    expect(app.inFlight()).toBe(0);
    void answer;
  }
  expect(heard).toEqual(["the client went away", "the client went away"]);
  expect(manual.cancelled).toHaveLength(1);
  expect(counted).toEqual(["preprocess cancelled", "postprocess cancelled", "preprocess ok"]);
  expect([...running.values()]).toEqual([0, 0]);
  expect(logged).toEqual([]);
});

test("what a hook leaves in its state is there for the later ones of the same request, and no other", async () => {
  const seen: unknown[] = [];
  const note = ({ state }: HookContext, name: string): void => {
    seen.push([name, { ...state }]);
    state[name] = true;
  };
  const { ask, inference } = gatewayWith({
    preprocess: (request, context) => (note(context, "pre"), doubled(request, context)),
    postprocess: ({ outputs }, context) => (note(context, "post"), outputs),
    after: (_record, context) => note(context, "after"),
  });
  await ask({});
  await ask({});
  await inference.close();
  const once = [
    ["pre", {}],
    ["post", { pre: true }],
    ["after", { pre: true, post: true }],
  ];
  expect(seen).toEqual([...once, ...once]);
});

test("after runs when the client has been answered, for failures too, and nobody hears of its own", async () => {
  const records: (HookRecord & { data?: unknown })[] = [];
  const gateway = gatewayWith({
    preprocess: (request, context) => {
      if (floatsOf(request.inputs, "x")[0] === 0) throw new InvalidRequest("zero");
      return doubled(request, context);
    },
    after: async (record) => {
      records.push(record);
      throw new Error("disk full");
    },
  });
  expect((await gateway.ask({})).status).toBe(200);
  expect((await gateway.ask({ body: inferBody([0, 0, 0, 0]) })).status).toBe(400);
  await gateway.inference.close();
  expect(records.map(({ outcome }) => outcome)).toEqual(["ok", "invalid_input"]);
  expect(records[0]?.request.inputs["x"]?.data).toEqual(Float32Array.of(1, 2, 3, 4));
  expect(records[0]?.outputs["y"]?.data).toEqual(Float32Array.of(2, 4, 6, 8));
  expect(records[1]?.outputs).toEqual({});
  expect(counted.filter((text) => text.startsWith("after"))).toEqual(["after error", "after error"]);
  // One line a second.
  expect(logged).toHaveLength(1);
});

test("more after hooks than may wait are dropped, and counted", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let ran = 0;
  const { ask, inference } = gatewayWith({ after: () => (ran++, promise) });
  for (let i = 0; i < 1_070; i++) await ask({});
  expect(counted.filter((text) => text === "after dropped")).toHaveLength(1_070 - 64 - 1_000);
  expect(ran).toBe(64);
  resolve();
  await inference.close();
  expect(ran).toBe(1_064);
});

test("a model whose hooks cannot be used takes no requests, and says why", async () => {
  const { ask, app } = gatewayWith({});
  const { status, answer } = await ask({});
  expect([status, answer.code]).toEqual([503, "model_not_ready"]);
  expect(answer.error).toContain("its hooks cannot be used: it exports none of");
  const index = (await (await app.request("/v2/repository/index", { method: "POST" })).json()) as object[];
  expect(index).toMatchObject([
    { name: "echo", state: "UNAVAILABLE" },
    { name: "plain", state: "READY" },
  ]);
});

test("what clients see of a model are the hooks' tensors", async () => {
  const inputs = [{ name: "id", datatype: "BYTES", shape: [-1] }] as const;
  const preprocess = (): never => {
    throw new InvalidRequest("none");
  };
  const { app } = gatewayWith({ preprocess, inputs });
  const metadata = await (await app.request("/v2/models/echo")).json();
  expect(metadata).toMatchObject({ inputs, outputs: [{ name: "y" }] });
});
