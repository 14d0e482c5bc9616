import { encodeTensorList, ERROR_CODES, type ErrorCode, type SubmitItem } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RouteTable } from "./model-table.ts";
import { type Ending, PendingTable } from "./pending.ts";
import { RetryBudget } from "./retry-budget.ts";
import { testModel, UNBOUNDED_RETRIES } from "../testing.ts";

const MODEL = testModel();
const PAYLOAD = Buffer.alloc(16);
const TENSORS = encodeTensorList({ tensors: [{ name: "y", datatype: "FP32", shape: [1, 4], bytes: 16 }], outputs: [] });

/** What happens next, in ms after what happened before; `which` picks among what there is. */
type Step = { readonly what: (typeof STEPS)[number]; readonly which: number; readonly afterMs: number };

const BROKERS = ["a", "b"] as const;
const STEPS = ["add", "flush", "answer", "answer", "refuse", "hand back", "lose", "cancel", "expire", "wait"] as const;

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...STEPS),
  which: fc.nat(1_000),
  afterMs: fc.constantFrom(0, 0, 1, 5, 40),
});

/** A broker that does anything, in any order, to a table whose every promise is checked. */
class World {
  readonly table: PendingTable;
  nowMs = 0;
  /** By number: how often it was taken back, and how it ended. */
  readonly requests = new Map<number, { attempt: number; ended: string; readonly deadlineMs: number }>();
  /** Everything that was ever submitted: a broker may answer any of it, and late. */
  readonly submitted: SubmitItem[] = [];
  readonly endings = new Map<string, number>();
  /** What brokers have in their present sessions and have not answered. */
  #withBroker: SubmitItem[] = [];
  /** Which of two brokers each was submitted to. */
  readonly #brokers = new Map<SubmitItem, string>();

  constructor() {
    const routes = new RouteTable();
    routes.replace([{ route: 0, workers: 1, isDefault: true, model: MODEL }]);
    this.table = new PendingTable(routes, new RetryBudget(UNBOUNDED_RETRIES));
  }

  run({ what, which, afterMs }: Step): void {
    this.nowMs += afterMs;
    const item = this.submitted[which % this.submitted.length];
    switch (what) {
      case "add":
        return this.#add(10 + (which % 150));
      case "flush":
        return this.#flush(BROKERS[which % 2]!);
      case "answer":
        if (item !== undefined) this.#answer(item, which % 3 === 0 ? ERROR_CODES.model_error.number : 0);
        return;
      case "refuse":
        if (item !== undefined) this.#reject(item, which % 2 === 0 ? "queue_full" : "poison");
        return;
      case "hand back": {
        const held = this.#withBroker[which % this.#withBroker.length];
        if (held !== undefined) this.#reject(held, "draining");
        return;
      }
      case "lose":
        return this.#lose(BROKERS[which % 2]!);
      case "cancel":
        return this.#cancel(1 + (which % (this.requests.size + 1)));
      case "expire":
        return this.#expire();
      case "wait":
        return;
    }
  }

  /** Time passes until nothing can be open. */
  finish(): void {
    this.nowMs += 1_000;
    this.#expire();
    expect(this.table.size).toBe(0);
    for (const [number, { ended }] of this.requests) expect(ended, `request ${number}`).not.toBe("");
  }

  #add(budgetMs: number): void {
    const inputs = [{ name: "x", datatype: "FP32" as const, shape: [1, 4], data: PAYLOAD }];
    const rest = { rows: 1, bucket: "", cost: 1, outputs: [], priority: 0, tenant: "", requestId: "" };
    const request = { model: MODEL, inputs, payload: PAYLOAD, budgetMs, ...rest };
    const { number } = this.table.add(request, () => {}, this.nowMs);
    expect(this.requests.has(number)).toBe(false);
    this.requests.set(number, { attempt: 0, ended: "", deadlineMs: this.nowMs + budgetMs });
  }

  #lose(broker: string): void {
    const isWith = (item: SubmitItem): boolean => this.#brokers.get(item) === broker;
    this.table.sessionLost(broker, this.nowMs);
    for (const item of this.#withBroker.filter(isWith)) this.#takenBack(item.request);
    this.#withBroker = this.#withBroker.filter((item) => !isWith(item));
  }

  #flush(broker: string): void {
    const { submits, endings } = this.table.flush(broker, this.nowMs);
    for (const item of submits.flatMap(({ items }) => items)) {
      const known = this.requests.get(item.request)!;
      expect([known.ended, item.attempt]).toEqual(["", known.attempt]);
      expect(item.budgetUs).toBeGreaterThan(0);
      expect(item.budgetUs).toBeLessThanOrEqual((known.deadlineMs - this.nowMs) * 1000);
      this.submitted.push(item);
      this.#withBroker.push(item);
      this.#brokers.set(item, broker);
    }
    this.#ended(endings);
  }

  #answer(item: SubmitItem, code: number): void {
    const isAwaited = this.#isAwaited(item);
    const { request, attempt } = item;
    const content = {
      code,
      retryAfterMs: 0,
      brokerQueueUs: 5,
      retryUs: 5,
      text: "",
      payload: PAYLOAD,
      tensors: TENSORS,
    };
    const answer = { request, attempt, ...content };
    const run = { batch: 1, worker: "w", batchRows: 1, batchWaitUs: 5, computeUs: 5, granted: 0 };
    const endings = this.table.result({ command: "RESULT", ...run, items: [answer, answer] }, this.nowMs);
    expect(endings.length).toBe(isAwaited ? 1 : 0);
    this.#withBroker = this.#withBroker.filter((one) => one !== item);
    this.#ended(endings);
  }

  #reject(item: SubmitItem, code: ErrorCode): void {
    const isAwaited = this.#isAwaited(item);
    const { request, attempt } = item;
    const about = { code: ERROR_CODES[code].number, retryAfterMs: 0, brokerQueueUs: 5, retryUs: 5, text: "" };
    const endings = this.table.reject([{ request, attempt, ...about }], this.nowMs);
    expect(endings.length).toBe(isAwaited && code !== "draining" ? 1 : 0);
    if (isAwaited && code === "draining") this.#takenBack(request);
    this.#withBroker = this.#withBroker.filter((one) => one !== item);
    this.#ended(endings);
  }

  #cancel(number: number): void {
    const known = this.requests.get(number);
    const sent = this.#withBroker.find((item) => item.request === number && this.#isAwaited(item));
    const message = { command: "CANCEL", items: [{ batch: 0, request: number }] };
    const expected = sent === undefined ? undefined : { broker: this.#brokers.get(sent), message };
    expect(this.table.cancel(number)).toEqual(expected);
    if (known?.ended === "") known.ended = "cancelled";
  }

  #expire(): void {
    const { endings, cancels } = this.table.expire(this.nowMs);
    const expired = new Set(endings.map(({ pending }) => pending.number));
    const sent = this.#withBroker.filter(({ request }) => expired.has(request));
    const cancelled = cancels.flatMap(({ broker, message }) =>
      message.items.map(({ request }) => `${broker}/${request}`),
    );
    const held = sent.map((item) => `${this.#brokers.get(item)}/${item.request}`);
    expect(new Set(cancelled)).toEqual(new Set(held));
    for (const { pending } of endings) expect(pending.deadlineMs).toBeLessThanOrEqual(this.nowMs);
    this.#ended(endings);
  }

  /** Whether the table waits for an answer to just this attempt. */
  #isAwaited(item: SubmitItem): boolean {
    const known = this.requests.get(item.request);
    return known?.ended === "" && known.attempt === item.attempt && this.#withBroker.includes(item);
  }

  #takenBack(number: number): void {
    const known = this.requests.get(number)!;
    if (known.ended === "") known.attempt++;
  }

  #ended(endings: readonly Ending[]): void {
    for (const { pending, answer } of endings) {
      const known = this.requests.get(pending.number)!;
      expect(known.ended, `request ${pending.number} is answered again`).toBe("");
      known.ended = answer.ok ? "ok" : answer.code;
      this.endings.set(known.ended, (this.endings.get(known.ended) ?? 0) + 1);
      for (const ms of Object.values(answer.stages)) expect(ms).toBeGreaterThanOrEqual(0);
    }
  }
}

test("whatever a broker does, every request is answered once or cancelled, and late answers change nothing", () => {
  const endings = new Map<string, number>();
  const steps = fc.array(step, { minLength: 1, maxLength: 120, size: "max" });
  fc.assert(
    fc.property(steps, (plan) => {
      const world = new World();
      for (const one of plan) world.run(one);
      world.finish();
      for (const [how, count] of world.endings) endings.set(how, (endings.get(how) ?? 0) + count);
    }),
    { numRuns: 400, seed: 20_250_102 },
  );
  for (const how of ["ok", "model_error", "queue_full", "poison", "deadline_exceeded"])
    expect(endings.get(how), how).toBeGreaterThan(20);
});
