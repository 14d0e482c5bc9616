import { LIMITS } from "@millrace/protocol";
import { expect, test } from "vitest";
import { parseCurvePage } from "@millrace/scheduling";
import { ModelBook } from "./model-book.ts";
import { createRequest } from "../dispatch/request.ts";
import { BrokerDriver } from "../testing/broker-driver.ts";
import { helloMessage, modelOf, modelsMessage, submitItem } from "../testing/message-builders.ts";
import { GatewaySession } from "../sessions/gateway-session.ts";
import { WorkerSession } from "../sessions/worker-session.ts";

const stamp = { epoch: "0".repeat(16), seq: 1 };

function workerOf(instance = "w"): WorkerSession {
  return new WorkerSession({ peer: instance, instance, stamp, content: helloMessage("worker", instance) }, 0);
}

const summary = (book: ModelBook): string[] =>
  book.routes().models.map(({ route, workers, isDefault, model }) => {
    return `${route} ${model.name}/${model.version} ${model.state} ${workers}${isDefault ? " default" : ""}`;
  });

test("the default is the highest version that is served, else the highest", () => {
  const book = new ModelBook();
  const [a, b] = [workerOf("a"), workerOf("b")];
  const version = (version: string, state: "ready" | "failed" = "ready") => modelOf("m", { version, state });
  book.announce(a, modelsMessage([version("9"), version("10", "failed")]).models);
  expect(summary(book)).toEqual(["0 m/9 ready 1 default", "1 m/10 failed 0"]);
  book.announce(b, modelsMessage([version("10")]).models);
  expect(summary(book)).toEqual(["0 m/9 ready 1", "1 m/10 ready 1 default"]);
  book.withdraw(a);
  book.withdraw(b);
  expect(summary(book)).toEqual(["0 m/9 ready 0", "1 m/10 ready 0 default"]);
});

test("a worker's list replaces its previous one; entries that come twice count once", () => {
  const book = new ModelBook();
  const worker = workerOf();
  book.announce(worker, modelsMessage([modelOf("m"), modelOf("m"), modelOf("n")]).models);
  expect(summary(book)).toEqual(["0 m/1 ready 1 default", "1 n/1 ready 1 default"]);
  book.announce(worker, modelsMessage([modelOf("n")]).models);
  expect(summary(book)).toEqual(["0 m/1 ready 0 default", "1 n/1 ready 1 default"]);
  expect(worker.models.size).toBe(1);
});

test("a worker that cannot serve a version does not describe it anew while others serve it", () => {
  const book = new ModelBook();
  book.announce(workerOf("a"), modelsMessage([modelOf("m")]).models);
  const failed = modelOf("m", { state: "failed", reason: "no memory" });
  expect(book.announce(workerOf("b"), modelsMessage([failed]).models)).toBe(0);
  expect(summary(book)).toEqual(["0 m/1 ready 1 default"]);
});

test("where workers say different limits of a version the smallest count, and the rest is what was said last", () => {
  const book = new ModelBook();
  const [a, b] = [workerOf("a"), workerOf("b")];
  const limits = { maxBatchSize: 64, maxRequestRows: 100, maxBatchElements: 0, timeoutMs: 5 };
  book.announce(a, modelsMessage([modelOf("m", limits)]).models);
  const other = { maxBatchSize: 8, maxRequestRows: 200, maxBatchElements: 500, timeoutMs: 7 };
  book.announce(b, modelsMessage([modelOf("m", other)]).models);
  const smallest = { maxBatchSize: 8, maxRequestRows: 100, maxBatchElements: 500, timeoutMs: 7 };
  expect(book.routes().models[0]!.model).toMatchObject(smallest);
  expect(book.byRoute(0)!.backlog.turnRows).toBe(8);
  // Whoever speaks last.
  book.announce(a, modelsMessage([modelOf("m", limits)]).models);
  expect(book.routes().models[0]!.model).toMatchObject({ ...smallest, timeoutMs: 5 });
  book.withdraw(b);
  expect(book.routes().models[0]!.model).toMatchObject(limits);
  book.withdraw(a);
  expect(book.routes().models[0]!.model).toMatchObject(limits);
});

test("names that run together are not mistaken for each other", () => {
  const book = new ModelBook();
  const models = [modelOf("a/1", { version: "2" }), modelOf("a", { version: "1/2" })];
  book.announce(workerOf(), modelsMessage(models).models);
  expect(summary(book)).toHaveLength(2);
});

test("a description that makes no sense is left out", () => {
  const book = new ModelBook();
  expect(book.announce(workerOf(), modelsMessage([modelOf("m", { maxBatchSize: 0 })]).models)).toBe(1);
  expect(summary(book)).toEqual([]);
});

test("a full book makes room by forgetting what nobody serves or waits for, and gives no route twice", () => {
  const book = new ModelBook();
  const [old, kept, late] = [workerOf("old"), workerOf("kept"), workerOf("late")];
  book.announce(kept, modelsMessage([modelOf("kept")]).models);
  const waiting = modelOf("waiting");
  book.announce(old, modelsMessage([waiting, ...numbered("old", LIMITS.list - 2)]).models);
  const model = book.byRoute(1)!;
  const gateway = new GatewaySession({ peer: "g", instance: "g", stamp }, 0);
  model.backlog.push(createRequest({ gateway, model, item: submitItem(1, { route: 1 }) }, 0));
  model.open++;
  expect(book.announce(late, modelsMessage(numbered("late", 3)).models)).toBe(3);
  book.withdraw(old);
  expect(book.announce(late, modelsMessage(numbered("late", 3)).models)).toBe(0);
  expect(book.all).toHaveLength(LIMITS.list);
  expect(book.byRoute(0)?.description.name).toBe("kept");
  expect(book.byRoute(1)?.description.name).toBe("waiting");
  expect([2, 3, 4].map((route) => book.byRoute(route))).toEqual([undefined, undefined, undefined]);
  expect(book.byRoute(LIMITS.list)?.description.name).toBe("late 0");
});

test("the list of all models fits one message, however long the descriptions are", () => {
  const book = new ModelBook();
  const inputs = Array.from({ length: 500 }, () => ({ name: "x".repeat(250), datatype: "FP32" as const, shape: [-1] }));
  const models = numbered("m", 40).map((model) => ({ ...model, inputs }));
  expect(book.announce(workerOf(), modelsMessage(models).models)).toBe(8);
  expect(book.all).toHaveLength(32);
});

test("a worker with hundreds of models is served like any other", () => {
  const driver = new BrokerDriver();
  const models = numbered("m", 600);
  const [worker, gateway] = [driver.worker("w", { models, slots: 4 }), driver.gateway()];
  for (let route = 0; route < 600; route++) gateway.submit([route], { route });
  let ran = 0;
  for (let jobs = worker.jobs(); jobs.length > 0; jobs = worker.jobs()) {
    ran += jobs.length;
    for (const job of jobs) worker.answer(job);
  }
  expect(ran).toBe(600);
  expect(gateway.answers()).toHaveLength(600);
});

function numbered(prefix: string, count: number): ReturnType<typeof modelOf>[] {
  return Array.from({ length: count }, (_, i) => modelOf(`${prefix} ${i}`));
}

test("the page of curves seeds those of another broker, where a worker of the kind comes; what workers announce goes first", () => {
  const first = new ModelBook();
  first.announce(
    workerOf("a"),
    modelsMessage([modelOf("m")], {
      curveMs: [
        [1, 10],
        [8, 17],
      ],
    }).models,
  );
  first.byRoute(0)!.curve("2x2", "kind").record(4, 3);
  const page = first.curves();
  expect(page.curves).toMatchObject([
    {
      model: "m",
      version: "1",
      bucket: "",
      fingerprint: "kind",
      line: { a_ms: expect.closeTo(9), b_ms: expect.closeTo(1) },
    },
    { bucket: "2x2", points: [{ rows: 4, q50_ms: 3, q95_ms: 3, samples: 1 }], line: null },
  ]);
  const second = new ModelBook(undefined, parseCurvePage(JSON.stringify(page)));
  expect(second.curves().curves).toEqual([]);
  second.announce(workerOf("a"), modelsMessage([modelOf("m")]).models);
  expect(second.curves()).toEqual(page);
  const third = new ModelBook(undefined, parseCurvePage(JSON.stringify(page)));
  third.announce(workerOf("a"), modelsMessage([modelOf("m")], { curveMs: [[1, 15]] }).models);
  third.announce(workerOf("b"), modelsMessage([modelOf("n")], { fingerprint: "other" }).models);
  expect(third.curves().curves).toMatchObject([
    {
      points: [
        { rows: 1, q50_ms: 15 },
        { rows: 8, q50_ms: 17 },
      ],
    },
    {},
  ]);
  expect(third.byRoute(1)!.curve("", "other").points()).toEqual([]);
});
