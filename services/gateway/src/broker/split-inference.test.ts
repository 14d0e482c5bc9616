import {
  encodeTensorList,
  ERROR_CODES,
  type ErrorCode,
  type ModelDescription,
  type SubmitItem,
  type Tensor,
} from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Inference, InferenceAnswer, InferenceRequest } from "./inference.ts";
import { RouteTable } from "./model-table.ts";
import { type Ending, PendingTable } from "./pending.ts";
import { SplitInference } from "./split-inference.ts";
import { RetryBudget } from "./retry-budget.ts";
import { testModel, UNBOUNDED_RETRIES } from "../testing.ts";

const MODEL = testModel({
  maxBatchSize: 4,
  maxRequestRows: 64,
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 1] }],
});

/** A broker side of which the table of requests is real, and the broker the test. */
class World {
  readonly table: PendingTable;
  readonly inference: SplitInference;
  readonly #model: ModelDescription;
  readonly endings: InferenceAnswer[][] = [];
  nowMs = 0;
  held: SubmitItem[] = [];
  /** What a client does who hears an answer. */
  onAnswer = (): void => {};

  constructor(model = MODEL) {
    const routes = new RouteTable();
    routes.replace([{ route: 0, workers: 1, isDefault: true, model }]);
    this.#model = model;
    this.table = new PendingTable(routes, new RetryBudget(UNBOUNDED_RETRIES));
    const inner: Inference = {
      models: routes,
      submit: (request, onAnswer) => this.table.add(request, onAnswer, this.nowMs).number,
      cancel: (handle) => {
        for (const { request } of this.table.cancel(handle)?.message.items ?? []) this.#forget(request);
      },
      readTotals: (onTotals) => onTotals([]),
      unreadyReason: () => "",
    };
    this.inference = new SplitInference(inner);
  }

  /** Submits rows that tell themselves apart; its answers go to `endings` at the place that is returned. */
  submit(
    rows: number,
    { budgetMs = 100, cost = rows }: { readonly budgetMs?: number; readonly cost?: number } = {},
  ): { readonly handle: number; readonly place: number; readonly values: Float32Array } {
    const values = Float32Array.from({ length: rows }, () => Math.random());
    const payload = Buffer.from(values.buffer);
    const inputs: Tensor[] = [{ name: "x", datatype: "FP32", shape: [rows, 1], data: payload }];
    const rest = { bucket: "", cost, outputs: [], priority: 0, tenant: "", requestId: "" };
    const request: InferenceRequest = { model: this.#model, rows, inputs, payload, budgetMs, ...rest };
    const answers: InferenceAnswer[] = [];
    const place = this.endings.push(answers) - 1;
    const onAnswer = (answer: InferenceAnswer): void => {
      answers.push(answer);
      this.onAnswer();
    };
    return { handle: this.inference.submit(request, onAnswer), place, values };
  }

  flush(): void {
    const { submits, endings } = this.table.flush("b", this.nowMs);
    for (const { items } of submits) this.held.push(...items);
    end(endings);
  }

  /** The broker answers: y = 2x. */
  answer(item: SubmitItem, code: ErrorCode | "" = ""): void {
    this.#forget(item.request);
    const x = new Float32Array(new Uint8Array(item.payload).buffer);
    const payload = Buffer.from(x.map((value) => value * 2).buffer);
    const list = { name: "y", datatype: "FP32" as const, shape: [x.length, 1], bytes: payload.byteLength };
    const tensors = encodeTensorList({ tensors: [list], outputs: [] });
    const number = code === "" ? 0 : ERROR_CODES[code].number;
    const rest = { retryAfterMs: 0, brokerQueueUs: 5_000, retryUs: 0, text: "failed" };
    const { request, attempt } = item;
    const run = { batch: 1, worker: `w${request}`, batchRows: 4, batchWaitUs: 1_000, computeUs: 2_000, granted: 0 };
    const items = [{ request, attempt, code: number, ...rest, payload, tensors }];
    end(this.table.result({ command: "RESULT", ...run, items }, this.nowMs));
  }

  /** The broker refuses these in one message, the later ones for longer. */
  reject(items: readonly SubmitItem[], code: ErrorCode): void {
    for (const { request } of items) this.#forget(request);
    const rest = { code: ERROR_CODES[code].number, brokerQueueUs: 0, retryUs: 0, text: "refused" };
    const rejects = items.map(({ request, attempt }, i) => ({
      request,
      attempt,
      ...rest,
      retryAfterMs: 100 * (i + 1),
    }));
    end(this.table.reject(rejects, this.nowMs));
  }

  lose(): void {
    this.held = [];
    this.table.sessionLost("b", this.nowMs);
  }

  expire(): void {
    const { endings, cancels } = this.table.expire(this.nowMs);
    for (const { message } of cancels) for (const { request } of message.items) this.#forget(request);
    end(endings);
  }

  #forget(request: number): void {
    this.held = this.held.filter((item) => item.request !== request);
  }
}

function end(endings: readonly Ending[]): void {
  for (const { pending, answer } of endings) pending.onAnswer(answer);
}

function valuesOf(answer: InferenceAnswer | undefined): number[] {
  if (answer?.ok !== true) throw new Error(`not answered: ${JSON.stringify(answer)}`);
  expect(answer.outputs.map(({ name, shape }) => [name, shape])).toEqual([["y", [answer.rows, 1]]]);
  return [...new Float32Array(new Uint8Array(answer.outputs[0]!.data).buffer)];
}

function doubled(values: Float32Array): number[] {
  return Array.from(values, (value) => value * 2);
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test("a request of more rows than a run has one answer, its rows in order, with the times of the part that came last", () => {
  const world = new World();
  const { values } = world.submit(10);
  world.flush();
  expect(world.held.map(({ rows }) => rows)).toEqual([4, 4, 2]);
  expect(world.table.rows).toBe(10);
  expect(new Set(world.held.map(({ budgetUs }) => budgetUs)).size).toBe(1);
  const [first, second, third] = world.held;
  world.nowMs = 20;
  world.answer(third!);
  world.answer(first!);
  expect(world.endings[0]).toEqual([]);
  world.nowMs = 30;
  world.answer(second!);
  const [answer] = world.endings[0]!;
  expect(valuesOf(answer)).toEqual(doubled(values));
  expect(answer).toMatchObject({ rows: 10, batchRows: 4, worker: `w${second!.request}` });
  // Sent at 0, answered at 30: the stages of the last part fill the time that the client has waited.
  expect(Object.values(answer!.stages).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(30);
  expect(world.table.size).toBe(0);
});

test("parts are no larger than the elements of a run allow", () => {
  const world = new World(testModel({ maxBatchSize: 4, maxRequestRows: 64, maxBatchElements: 20 }));
  world.submit(5, { cost: 5 * 8 });
  world.flush();
  expect(world.held.map(({ rows, cost }) => [rows, cost])).toEqual([
    [2, 16],
    [2, 16],
    [1, 8],
  ]);
});

test("a request that fits a run goes through as it is", () => {
  const world = new World();
  const { handle, values } = world.submit(4);
  expect(handle).toBeGreaterThan(0);
  world.flush();
  world.answer(world.held[0]!);
  expect(valuesOf(world.endings[0]![0])).toEqual(doubled(values));
});

test("refused parts refuse the request, with the longest time to wait; the others are cancelled, and what ran is not answered", async () => {
  const world = new World();
  world.submit(14);
  world.flush();
  const [ran, , ...last] = world.held;
  world.answer(ran!);
  world.reject(last, "shed");
  await turn();
  expect(world.endings[0]).toMatchObject([{ ok: false, code: "shed", retryAfterMs: 200, message: "refused" }]);
  expect([world.held, world.table.size]).toEqual([[], 0]);
});

test("a part that the model fails on fails the request once, even where all parts fail", async () => {
  const world = new World();
  world.submit(8);
  world.flush();
  for (const item of world.held) world.answer(item, "model_error");
  await turn();
  expect(world.endings[0]).toMatchObject([{ ok: false, code: "model_error", message: "failed" }]);
  expect(world.table.size).toBe(0);
});

test.each(["before it is sent", "while it runs", "in the turn in which a part was refused"])(
  "a client that goes away %s leaves nothing behind",
  async (when) => {
    const world = new World();
    const { handle } = world.submit(9);
    if (when !== "before it is sent") world.flush();
    if (when.startsWith("in the turn")) world.reject(world.held.slice(0, 1), "queue_full");
    world.inference.cancel(handle);
    await turn();
    expect([world.endings[0], world.held, world.table.size]).toEqual([[], [], 0]);
    world.inference.cancel(handle);
  },
);

test("a client that goes away while the message is read that ends its request hears nothing of it", async () => {
  const world = new World();
  world.submit(1);
  const { handle, place } = world.submit(8);
  world.flush();
  world.onAnswer = () => world.inference.cancel(handle);
  world.reject(world.held, "queue_full");
  await turn();
  expect([world.endings[place], world.table.size]).toEqual([[], 0]);
});

test("what a lost broker had of a request is sent again, and not what it had answered", () => {
  const world = new World();
  const { values } = world.submit(8);
  world.flush();
  world.answer(world.held[0]!);
  world.lose();
  world.flush();
  expect(world.held.map(({ rows, attempt }) => [rows, attempt])).toEqual([[4, 1]]);
  world.answer(world.held[0]!);
  expect(valuesOf(world.endings[0]![0])).toEqual(doubled(values));
});

test("a part that does not come in time ends the request with 504, once", async () => {
  const world = new World();
  world.submit(8, { budgetMs: 50 });
  world.flush();
  world.answer(world.held[0]!);
  world.nowMs = 100;
  world.expire();
  await turn();
  expect(world.endings[0]).toMatchObject([{ ok: false, code: "deadline_exceeded" }]);
  expect([world.held, world.table.size]).toEqual([[], 0]);
});

const STEPS = [
  "submit",
  "submit",
  "flush",
  "answer",
  "answer",
  "answer",
  "fail",
  "reject",
  "hand back",
  "lose",
  "cancel",
  "expire",
] as const;

test("whatever a broker does, each request ends once, its rows are its own, and nothing is left behind", async () => {
  const step = fc.record({
    what: fc.constantFrom(...STEPS),
    which: fc.nat(1000),
    afterMs: fc.constantFrom(0, 0, 1, 30),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const world = new World();
      const submitted: ReturnType<World["submit"]>[] = [];
      const cancelled = new Set<number>();
      for (const { what, which, afterMs } of steps) {
        world.nowMs += afterMs;
        const item = world.held[which % world.held.length];
        if (what === "submit") submitted.push(world.submit(1 + (which % 23)));
        else if (what === "flush") world.flush();
        else if (what === "lose") world.lose();
        else if (what === "expire") world.expire();
        else if (what === "cancel") {
          const one = submitted[which % submitted.length];
          if (one !== undefined && world.endings[one.place]!.length === 0) {
            world.inference.cancel(one.handle);
            cancelled.add(one.place);
          }
        } else if (item === undefined) continue;
        else if (what === "answer") world.answer(item);
        else if (what === "fail") world.answer(item, "model_error");
        else world.reject([item], what === "reject" ? "queue_full" : "draining");
        if (which % 2 === 0) await turn();
      }
      world.nowMs += 1_000;
      world.expire();
      await turn();
      expect([world.table.size, world.table.rows, world.held]).toEqual([0, 0, []]);
      for (const { place, values } of submitted) {
        const answers = world.endings[place]!;
        expect(answers.length).toBe(cancelled.has(place) ? 0 : 1);
        if (answers[0]?.ok) expect(valuesOf(answers[0])).toEqual(doubled(values));
      }
    }),
    { numRuns: 300 },
  );
});
