import {
  decodeTensorList,
  encodeTensorList,
  ERROR_CODES,
  type ErrorCode,
  LIMITS,
  type MessageOf,
  type RejectItem,
  requestIdOf,
  type ResultItem,
  type SubmitItem,
  type Tensor,
} from "@millrace/protocol";
import { expect, test } from "vitest";
import type { InferenceAnswer, InferenceRequest } from "./inference.ts";
import { RouteTable } from "./model-table.ts";
import { type Ending, PendingTable } from "./pending.ts";
import { RetryBudget } from "./retry-budget.ts";
import { testModel, UNBOUNDED_RETRIES } from "../testing.ts";

const MODEL = testModel();
const NONE = Buffer.alloc(0);

function tableOf(retries = UNBOUNDED_RETRIES): { routes: RouteTable; table: PendingTable } {
  const routes = new RouteTable();
  routes.replace([{ route: 5, workers: 1, isDefault: true, model: MODEL }]);
  return { routes, table: new PendingTable(routes, new RetryBudget(retries)) };
}

function floats(...values: number[]): Buffer {
  return Buffer.from(new Float32Array(values).buffer);
}

function requestOf(given: Partial<InferenceRequest> = {}): InferenceRequest {
  const payload = given.payload ?? floats(1, 2, 3, 4);
  const inputs: Tensor[] = [{ name: "x", datatype: "FP32", shape: [1, 4], data: payload }];
  const rest = { rows: 1, bucket: "", cost: 1, outputs: [], budgetMs: 1_000, priority: 0, tenant: "", requestId: "" };
  return { model: MODEL, inputs, payload, ...rest, ...given };
}

function add(table: PendingTable, nowMs: number, given: Partial<InferenceRequest> = {}): number {
  return table.add(requestOf(given), () => {}, nowMs).number;
}

/** What a broker is sent, message by message. */
function flushed(table: PendingTable, nowMs: number): SubmitItem[][] {
  const { submits, endings } = table.flush("b", nowMs);
  expect(endings).toEqual([]);
  return submits.map(({ items }) => [...items]);
}

type Given = { readonly item?: Partial<ResultItem>; readonly run?: Partial<MessageOf<"RESULT">> };

function resultOf(request: number, attempt: number, { item, run }: Given = {}): MessageOf<"RESULT"> {
  const payload = floats(5, 6, 7, 8);
  const tensors = encodeTensorList({
    tensors: [{ name: "y", datatype: "FP32", shape: [1, 4], bytes: payload.byteLength }],
    outputs: [],
  });
  const none = { code: 0, retryAfterMs: 0, brokerQueueUs: 0, retryUs: 0, text: "" };
  const items = [{ request, attempt, ...none, payload, tensors, ...item }];
  return {
    command: "RESULT",
    batch: 1,
    worker: "w",
    batchRows: 1,
    batchWaitUs: 0,
    computeUs: 0,
    items,
    granted: 0,
    ...run,
  };
}

function rejectOf(request: number, attempt: number, code: ErrorCode): RejectItem {
  const about = { retryAfterMs: 70, brokerQueueUs: 4_000, retryUs: 2_000, text: "because" };
  return { request, attempt, code: ERROR_CODES[code].number, ...about };
}

/** Each ending as number and code, or "ok". */
function summary(endings: readonly Ending[]): [number, string][] {
  return endings.map(({ pending, answer }) => [pending.number, answer.ok ? "ok" : answer.code]);
}

function answerOf(endings: readonly Ending[]): InferenceAnswer {
  expect(endings).toHaveLength(1);
  return endings[0]!.answer;
}

test("a request is handed over once, with its route and what is left of its budget, and answered once", () => {
  const { table } = tableOf();
  const number = add(table, 0, { requestId: "mine" });
  const [[item]] = flushed(table, 10) as [[SubmitItem]];
  expect(item).toMatchObject({ request: number, attempt: 0, route: 5, rows: 1, budgetUs: 990_000, ageUs: 10_000 });
  expect(requestIdOf(item.trace)).toBe("mine");
  expect(decodeTensorList(item.tensors)?.tensors).toEqual([{ name: "x", datatype: "FP32", shape: [1, 4], bytes: 16 }]);
  expect(flushed(table, 11)).toEqual([]);
  const answer = answerOf(table.result(resultOf(number, 0), 20));
  expect(answer).toMatchObject({
    ok: true,
    rows: 1,
    batchRows: 1,
    worker: "w",
    outputs: [{ name: "y", shape: [1, 4] }],
  });
  expect(table.result(resultOf(number, 0), 21)).toEqual([]);
  expect(table.reject([rejectOf(number, 0, "shed")], 22)).toEqual([]);
  expect(table.expire(100_000)).toEqual({ endings: [], cancels: [] });
  expect(table.size).toBe(0);
});

test("an answer to what was never sent is dropped", () => {
  const { table } = tableOf();
  const number = add(table, 0);
  expect(table.result(resultOf(number, 0), 1)).toEqual([]);
  expect(table.reject([rejectOf(number, 0, "shed"), rejectOf(99, 0, "shed")], 1)).toEqual([]);
  expect(flushed(table, 2)).toHaveLength(1);
});

test("a SUBMIT is closed at 256 items, and at 256 KiB of payload", () => {
  const { table } = tableOf();
  for (let i = 0; i < 300; i++) add(table, 0);
  expect(flushed(table, 0).map((items) => items.length)).toEqual([256, 44]);
  for (let i = 0; i < 5; i++) add(table, 0, { payload: Buffer.alloc(100 * 1024) });
  expect(flushed(table, 0).map((items) => items.length)).toEqual([3, 2]);
});

test("when the session is lost, what was sent is sent again as the next attempt; answers to the former are dropped", () => {
  const { table } = tableOf();
  const sent = add(table, 0);
  flushed(table, 10);
  const unsent = add(table, 15);
  table.sessionLost("b", 40);
  const items = flushed(table, 50).flat();
  expect(new Map(items.map(({ request, attempt }) => [request, attempt]))).toEqual(
    new Map([
      [sent, 1],
      [unsent, 0],
    ]),
  );
  expect(items.find(({ request }) => request === sent)?.budgetUs).toBe(950_000);
  expect(table.result(resultOf(sent, 0), 60)).toEqual([]);
  expect(table.reject([rejectOf(sent, 0, "poison")], 60)).toEqual([]);
  const answer = answerOf(table.result(resultOf(sent, 1), 70));
  expect(answer.stages).toMatchObject({ gatewayQueueMs: 20, retryMs: 30, networkMs: 20 });
});

test("a broker that shuts down hands requests back, for the next one; any other refusal is the answer", () => {
  const { table } = tableOf();
  const [a, b] = [add(table, 0), add(table, 0)];
  flushed(table, 0);
  const endings = table.reject([rejectOf(a, 0, "draining"), rejectOf(b, 0, "queue_full")], 10);
  expect(summary(endings)).toEqual([[b, "queue_full"]]);
  expect(answerOf(endings)).toMatchObject({
    message: "because",
    retryAfterMs: 70,
    stages: { brokerQueueMs: 4, retryMs: 2, networkMs: 4 },
  });
  expect(table.hasUnsent).toBe(true);
  expect(flushed(table, 20)[0]).toMatchObject([{ request: a, attempt: 1 }]);
});

test("a budget that passes is answered, and the broker is told if it has the request", () => {
  const { table } = tableOf();
  const sent = add(table, 0, { budgetMs: 100 });
  flushed(table, 0);
  const waiting = add(table, 0, { budgetMs: 100 });
  expect(table.expire(99)).toEqual({ endings: [], cancels: [] });
  const { endings, cancels } = table.expire(120);
  expect(new Map(summary(endings))).toEqual(
    new Map([
      [sent, "deadline_exceeded"],
      [waiting, "deadline_exceeded"],
    ]),
  );
  expect(cancels).toEqual([{ broker: "b", message: { command: "CANCEL", items: [{ batch: 0, request: sent }] } }]);
  expect(flushed(table, 130)).toEqual([]);
  expect(table.size).toBe(0);
});

test("many budgets that pass together are cancelled in messages within the limits", () => {
  const { table } = tableOf();
  for (let i = 0; i < 600; i++) add(table, 0, { budgetMs: 10 });
  flushed(table, 0);
  expect(table.expire(1_000).cancels.map(({ message }) => message.items.length)).toEqual([256, 256, 88]);
});

test("what has no time left is not handed over", () => {
  const { table } = tableOf();
  const number = add(table, 0, { budgetMs: 5 });
  const { submits, endings } = table.flush("b", 5);
  expect(submits).toEqual([]);
  expect(summary(endings)).toEqual([[number, "deadline_exceeded"]]);
  expect(table.expire(1_000).endings).toEqual([]);
});

test("a client that goes away is forgotten: unsent without a word, sent with a CANCEL, and its answer is dropped", () => {
  const { table } = tableOf();
  const unsent = add(table, 0);
  expect(table.cancel(unsent)).toBeUndefined();
  const sent = add(table, 0);
  expect(flushed(table, 0).flat()).toHaveLength(1);
  const message = { command: "CANCEL", items: [{ batch: 0, request: sent }] };
  expect(table.cancel(sent)).toEqual({ broker: "b", message });
  expect(table.cancel(sent)).toBeUndefined();
  expect(table.result(resultOf(sent, 0), 1)).toEqual([]);
  expect(table.expire(10_000)).toEqual({ endings: [], cancels: [] });
  expect(table.size).toBe(0);
});

test("a request whose model the broker does not know is refused; while it may come back, it waits", () => {
  const { routes, table } = tableOf();
  const number = add(table, 0);
  routes.remember();
  routes.replace([]);
  expect(flushed(table, 1)).toEqual([]);
  expect(table.hasUnsent).toBe(true);
  routes.settle();
  expect(summary(table.flush("b", 2).endings)).toEqual([[number, "unavailable"]]);
});

test("when no broker comes back, what waits is refused, at half of its budget: after 3 s at the earliest, 30 s at the latest", () => {
  const { table } = tableOf();
  const gone = add(table, 0);
  const [short, half, long] = [5_000, 20_000, 300_000].map((budgetMs) => add(table, 0, { budgetMs }));
  table.cancel(gone);
  const refused = (outageMs: number): unknown => summary(table.refuseUnsent(outageMs, "no broker"));
  expect([refused(3_000), refused(3_001)]).toEqual([[], [[short, "unavailable"]]]);
  const late = add(table, 4_000);
  expect([refused(4_000), table.size]).toEqual([[[late, "unavailable"]], 2]);
  expect([refused(10_000), refused(10_001)]).toEqual([[], [[half, "unavailable"]]]);
  expect([refused(30_000), refused(30_001)]).toEqual([[], [[long, "unavailable"]]]);
  expect(table.hasUnsent).toBe(false);
});

test("what has ended while no broker takes it is not kept, and what has not is", () => {
  const { table } = tableOf();
  const kept = add(table, 0);
  const others = Array.from({ length: 50 }, () => add(table, 0));
  for (const number of others) table.cancel(number);
  table.cancel(kept);
  expect(table.hasUnsent).toBe(false);
  const [early, late] = [add(table, 10, { budgetMs: 100 }), add(table, 10)];
  expect(summary(table.expire(200).endings)).toEqual([[early, "deadline_exceeded"]]);
  expect(
    flushed(table, 300)
      .flat()
      .map(({ request }) => request),
  ).toEqual([late]);
});

test("one request that does not fit a message does not cost the others theirs", () => {
  const { table } = tableOf();
  const names = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(LIMITS.nameBytes, "x"));
  const [large, small] = [add(table, 0, { outputs: names }), add(table, 0)];
  const { submits, endings } = table.flush("b", 0);
  expect(summary(endings)).toEqual([[large, "unsupported"]]);
  expect(submits.map(({ items }) => items.map(({ request }) => request))).toEqual([[small]]);
});

test("an answer that does not hold what it says is an internal error, whatever is wrong with it", () => {
  const list = (shape: number[], bytes: number): Buffer =>
    encodeTensorList({ tensors: [{ name: "y", datatype: "FP32", shape, bytes }], outputs: [] });
  const wrong: Partial<ResultItem>[] = [
    { tensors: Buffer.from("garbage") },
    { tensors: NONE },
    { tensors: list([1, 4], 12) },
    { tensors: list([1, 4], 20) },
    { tensors: list([2, 4], 16) },
    { payload: NONE },
  ];
  const { table } = tableOf();
  for (const item of wrong) {
    const number = add(table, 0);
    flushed(table, 0);
    expect(answerOf(table.result(resultOf(number, 0, { item }), 1))).toMatchObject({ ok: false, code: "internal" });
  }
  expect(table.size).toBe(0);
});

test("an error of the worker is the answer, with what it says and the times it took", () => {
  const { table } = tableOf();
  const number = add(table, 0);
  flushed(table, 10);
  const item = { code: ERROR_CODES.model_error.number, text: "index 9 is out of bounds", tensors: NONE, payload: NONE };
  const times = { brokerQueueUs: 1_000, retryUs: 2_000 };
  const run = { batchWaitUs: 3_000, computeUs: 4_000 };
  expect(answerOf(table.result(resultOf(number, 0, { item: { ...item, ...times }, run }), 40))).toMatchObject({
    code: "model_error",
    message: "index 9 is out of bounds",
    stages: { gatewayQueueMs: 10, brokerQueueMs: 1, retryMs: 2, batchWaitMs: 3, computeMs: 4, networkMs: 20 },
  });
});

test("an error number of a newer broker is an internal error", () => {
  const { table } = tableOf();
  const number = add(table, 0);
  flushed(table, 0);
  expect(answerOf(table.reject([{ ...rejectOf(number, 0, "shed"), code: 9_999 }], 1))).toMatchObject({
    code: "internal",
  });
});

test.each(["lost", "handed back"] as const)(
  "what is %s beyond the retry budget is refused, and the rest sent again",
  (how) => {
    const { table } = tableOf({ retryPercentMax: 50, retriesMin: 1 });
    const numbers = Array.from({ length: 8 }, () => add(table, 0));
    const [sent = []] = flushed(table, 0);
    const endings =
      how === "lost"
        ? table.sessionLost("b", 10)
        : table.reject(
            sent.map(({ request, attempt }) => rejectOf(request, attempt, "draining")),
            10,
          );
    // One, and half of eight.
    expect(summary(endings)).toEqual(numbers.slice(5).map((number) => [number, "unavailable"]));
    expect(endings[0]?.answer).toMatchObject({ ok: false, retryAfterMs: 1000, stages: { retryMs: 10 } });
    expect(table.size).toBe(5);
    const [again = []] = flushed(table, 20);
    expect(again.map(({ request, attempt }) => [request, attempt])).toEqual(
      numbers.slice(0, 5).map((number) => [number, 1]),
    );
  },
);
