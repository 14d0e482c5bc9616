import { encodeTrace, ERROR_CODES, JOB_FLAGS, type MessageOf, REQUEST_FLAGS } from "@millrace/protocol";
import { expect, test } from "vitest";
import { BrokerDriver, type FakeGateway, type FakeWorker, requestsOf } from "../testing/broker-driver.ts";
import { modelOf, resultItem, resultMessage, submitItem } from "../testing/message-builders.ts";

/** 10 ms for one row, 17 ms for eight. */
const curveMs: [number, number][] = [
  [1, 10],
  [8, 17],
];

/** What the broker holds when nothing is left. */
function expectAtRest(driver: BrokerDriver): void {
  driver.decide();
  expect(driver.core.openRequests).toBe(0);
  for (const model of driver.core.models.all) expect(model).toMatchObject({ open: 0, backlog: { rows: 0 } });
  const { gateways, workers } = driver.core.describeSessions();
  for (const { open } of gateways) expect(open).toBe(0);
  for (const { bytes_out: bytesOut, slots } of workers) {
    expect(bytesOut).toBe(0);
    for (const { granted, dispatched, out } of slots) {
      expect(out).toBe(0);
      expect(dispatched).toBeLessThanOrEqual(granted);
    }
  }
}

test("a request runs at once, and its answer comes back under the gateway's number with the times it took", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w")];
  gateway.submit([7], { attempt: 3, budgetUs: 500_000 });
  const [job] = worker.jobs();
  expect(job).toMatchObject({ slot: 0, model: 0, flags: 0, bucket: "" });
  expect(job!.items).toMatchObject([{ request: 7, attempt: 3, rows: 1, budgetUs: 500_000 }]);
  expect(Buffer.from(job!.items[0]!.origin).toString("hex")).toBe(gateway.epoch);
  driver.advance(12);
  worker.answer(job!, 10);
  expect(gateway.take("RESULT")).toMatchObject([
    { worker: "w", batchRows: 1, computeUs: 10_000, items: [{ request: 7, attempt: 3, code: 0, brokerQueueUs: 0 }] },
  ]);
  expectAtRest(driver);
});

test("what a worker lost to a failed run is added to the time of attempts that failed, and teaches nothing", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1]);
  const [first] = worker.jobs();
  driver.advance(5);
  worker.handBack(first!, true);
  const [job] = worker.jobs();
  driver.advance(20);
  worker.say({ ...resultMessage(job!, 10, [resultItem(job!, 0, { retryUs: 3_000 })]), batchRows: 0 });
  expect(gateway.take("RESULT")).toMatchObject([{ batchRows: 0, items: [{ retryUs: 8_000 }] }]);
  expect(driver.core.models.describe()).toMatchObject([{ curves: [{ points: [] }] }]);
});

test("requests of one turn share a batch by their deadlines, and each gateway gets one RESULT", () => {
  const driver = new BrokerDriver();
  const [a, b, worker] = [driver.gateway("a"), driver.gateway("b"), driver.worker()];
  a.submit([1], { budgetUs: 300_000 });
  b.submit([1], { budgetUs: 100_000 });
  a.submit([2], { budgetUs: 200_000 });
  const [job, ...more] = worker.jobs();
  expect(more).toEqual([]);
  expect(job!.items.map(({ budgetUs }) => budgetUs)).toEqual([100_000, 200_000, 300_000]);
  worker.answer(job!);
  expect(a.take("RESULT").map(({ items }) => items.map(({ request }) => request))).toEqual([[2, 1]]);
  expect(b.take("RESULT").map(({ items }) => items.map(({ request }) => request))).toEqual([[1]]);
  expectAtRest(driver);
});

test("a batch holds one model version and one shape bucket, and no more rows than the model takes", () => {
  const driver = new BrokerDriver();
  const models = [modelOf("m"), modelOf("n", { maxBatchSize: 2 })];
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { models, slots: 4 })];
  const given = [
    submitItem(1, { rows: 5 }),
    submitItem(2, { rows: 4 }),
    submitItem(3, { bucket: "3" }),
    submitItem(4, { route: 1 }),
    submitItem(5, { rows: 3 }),
  ].map((item, i) => ({ ...item, budgetUs: 1_000_000 + i }));
  gateway.say({ command: "SUBMIT", items: given });
  const jobs = worker.jobs();
  expect(requestsOf(jobs)).toEqual([[1], [2, 5], [3], [4]]);
  expect(jobs.map(({ model, bucket }) => [model, bucket])).toEqual([
    [0, ""],
    [0, ""],
    [0, "3"],
    [1, ""],
  ]);
});

test("without credit nothing is sent, and never more than two batches a slot, whatever is granted", () => {
  const driver = new BrokerDriver();
  // Rows cost as much as batches: nothing is held back.
  const [gateway, worker] = [
    driver.gateway(),
    driver.worker("w", {
      curveMs: [
        [1, 10],
        [8, 80],
      ],
      credit: 0,
    }),
  ];
  gateway.submit([1]);
  expect(worker.jobs()).toEqual([]);
  worker.grantAnew(0);
  const [first] = worker.jobs();
  gateway.submit([2]);
  driver.advance(9.9);
  expect(worker.jobs()).toEqual([]);
  worker.granted[0] = 1_000;
  worker.grantAnew(0);
  expect(requestsOf(worker.jobs())).toEqual([[2]]);
  gateway.submit([3]);
  driver.advance(5);
  expect(worker.jobs()).toEqual([]);
  worker.answer(first!);
  driver.advance(10);
  expect(requestsOf(worker.jobs())).toEqual([[3]]);
});

test("grants are cumulative: repeated, reordered and for slots that do not exist they do no harm", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 1 })];
  for (const granted of [[1], [0], [1, 9, 9], []])
    worker.say({ command: "CREDIT", fence: 0, granted, grantedBytes: 0 });
  gateway.submit([1]);
  const [job] = worker.jobs();
  gateway.submit([2]);
  worker.say(resultMessage(job!, 1));
  expect(worker.jobs()).toEqual([]);
  expect(driver.core.describeSessions().workers[0]!.slots).toEqual([{ granted: 1, dispatched: 1, out: 0 }]);
});

test("payload bytes at a worker are bounded: a batch takes what fits, and another worker takes the rest", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const [small, other] = [driver.worker("small", { bytesMax: 40 }), driver.worker("other", { bytesMax: 20 })];
  gateway.submit([1, 2, 3]);
  const [job] = small.jobs();
  expect(requestsOf([job!])).toEqual([[1, 2]]);
  expect(requestsOf(other.jobs())).toEqual([[3]]);
  // Larger than all that a worker may have out: it runs when the worker has nothing else.
  gateway.submit([4], { payload: Buffer.alloc(100) });
  expect(small.jobs()).toEqual([]);
  small.answer(job!);
  expect(requestsOf(small.jobs())).toEqual([[4]]);
});

test("a budget that passes in the queue ends the request, and nothing of it runs", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 0 })];
  gateway.submit([1], { budgetUs: 5_000 });
  gateway.submit([2], { budgetUs: 0 });
  expect(gateway.answers()).toEqual([{ request: 2, attempt: 0, code: "deadline_exceeded" }]);
  driver.advance(4.9);
  expect(gateway.answers()).toEqual([]);
  driver.advance(0.1);
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "deadline_exceeded" }]);
  worker.grantAnew(0);
  expect(worker.jobs()).toEqual([]);
  expectAtRest(driver);
});

test("a worker is told what is left of the budget", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 0 })];
  gateway.submit([1], { budgetUs: 5_000 });
  driver.advance(2);
  worker.grantAnew(0);
  expect(worker.jobs()[0]!.items).toMatchObject([{ budgetUs: 3_000 }]);
});

test("a full queue refuses at once, by rows or by bytes, and says when to come again", () => {
  const driver = new BrokerDriver({ queueRowsMax: 10, queueBytesMax: 200 });
  const [gateway, worker] = [driver.gateway(), driver.worker("w")];
  gateway.submit([1]);
  const [job] = worker.jobs();
  driver.advance(10);
  gateway.submit([2, 3], { rows: 5 });
  gateway.submit([4]);
  expect(gateway.take("REJECT")).toMatchObject([
    { items: [{ request: 4, code: ERROR_CODES.queue_full.number, retryAfterMs: 1_000 }] },
  ]);
  // Ten rows at 10 ms a row are waiting once the pace is known.
  worker.say(resultMessage(job!, 10));
  expect(requestsOf(worker.jobs())).toEqual([[2]]);
  gateway.submit([5], { rows: 5, payload: Buffer.alloc(1) });
  gateway.submit([6], { payload: Buffer.alloc(1) });
  expect(gateway.take("REJECT")).toMatchObject([{ items: [{ request: 6, retryAfterMs: 100 }] }]);
  gateway.cancel(3);
  gateway.submit([7], { payload: Buffer.alloc(200) });
  expect(gateway.answers()).toMatchObject([{ request: 1 }, { request: 7, code: "queue_full" }]);
});

test("an ended request makes room, however it ended", () => {
  const driver = new BrokerDriver({ queueRowsMax: 1, queueBytesMax: 150 });
  const gateway = driver.gateway();
  for (let round = 0; round < 10; round++) {
    const worker = driver.worker("w");
    gateway.submit([0], { payload: Buffer.alloc(100), tensors: Buffer.alloc(30), trace: Buffer.alloc(20) });
    const [job] = worker.jobs();
    if (round % 3 === 0) gateway.cancel(0);
    else if (round % 3 === 1) worker.answer(job!);
    else driver.advance(1_001);
    gateway.cancel(0);
  }
  expect(gateway.answers().every(({ code }) => code === "ok")).toBe(true);
  expect(driver.core.openRequests).toBe(0);
});

test("a batch costs no more than its model allows: rows of a bucket cost the same, and those of another bucket something else", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [
    driver.gateway(),
    driver.worker("w", { models: [modelOf("m", { maxBatchElements: 32 })] }),
  ];
  gateway.submit([0]);
  const jobs = worker.jobs();
  gateway.submit([1, 2, 3, 4, 5], { bucket: "16", cost: 16 });
  gateway.submit([6, 7, 8, 9, 10], { bucket: "4", cost: 4 });
  // Three rows of these are more than a batch may cost: whoever submits has to split.
  gateway.submit([11], { bucket: "16", cost: 48, rows: 3 });
  // Larger by itself: it goes alone.
  gateway.submit([12], { bucket: "64", cost: 64 });
  expect(gateway.answers().map(({ request, code }) => [request, code])).toEqual([[11, "too_many_rows"]]);
  const batches: number[][] = [];
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    batches.push(job.items.map(({ request }) => request));
    worker.answer(job, 1);
    // Longer than anything is held back.
    driver.advance(200);
    jobs.push(...worker.jobs());
  }
  expect(batches).toEqual([[0], [1, 2], [3, 4], [5], [6, 7, 8, 9, 10], [12]]);
  expectAtRest(driver);
});

test("what cannot run is refused at once", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1], { route: 9 });
  gateway.submit([2], { rows: 9 });
  gateway.submit([3], { rows: 0 });
  worker.leave();
  gateway.submit([4]);
  expect(gateway.answers().map(({ code }) => code)).toEqual([
    "model_not_found",
    "too_many_rows",
    "too_many_rows",
    "unavailable",
  ]);
  expectAtRest(driver);
});

/** A worker 5 ms away, as the broker has measured it by now: batches leave for it long before the run before them can have ended. */
function distantWorker(driver: BrokerDriver, gateway: FakeGateway): FakeWorker {
  const worker = driver.worker("distant");
  for (let round = 0; round < 100; round++) {
    gateway.submit([1]);
    const [job] = worker.jobs();
    driver.advance(9);
    worker.answer(job!, 3);
  }
  gateway.answers();
  return worker;
}

test("what ran on a lost worker runs again one request at a time; what was staged behind it goes back as it was", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const worker = distantWorker(driver, gateway);
  gateway.submit([1, 2]);
  expect(requestsOf(worker.jobs())).toEqual([[1, 2]]);
  gateway.submit([3, 4]);
  driver.advance(6);
  expect(requestsOf(worker.jobs())).toEqual([[3, 4]]);
  worker.leave();
  const other = driver.worker("other");
  const jobs: MessageOf<"JOB">[] = [];
  for (let [job] = other.jobs(); job !== undefined; [job] = other.jobs()) {
    jobs.push(job);
    other.answer(job);
  }
  expect(requestsOf(jobs)).toEqual([[1], [2], [3, 4]]);
  expect(jobs.map(({ flags }) => flags)).toEqual([JOB_FLAGS.isolate, JOB_FLAGS.isolate, 0]);
  expect(gateway.answers().map(({ code }) => code)).toEqual(["ok", "ok", "ok", "ok"]);
  expectAtRest(driver);
});

test("where the running batch may have ended unheard, the staged one may have started, and counts as running", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const worker = driver.worker("w", { curveMs: [[1, 20]] });
  gateway.submit([1]);
  expect(requestsOf(worker.jobs())).toEqual([[1]]);
  gateway.submit([2, 3]);
  driver.advance(20);
  expect(requestsOf(worker.jobs())).toEqual([[2, 3]]);
  worker.leave();
  const other = driver.worker("other", { slots: 4 });
  expect(requestsOf(other.jobs())).toEqual([[1]]);
});

test("a request that was on a lost worker has its next worker for itself, and others wait for their turn", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  const models = [modelOf("m"), modelOf("n")];
  gateway.submit([1, 2]);
  worker.jobs();
  const other = driver.worker("other", { slots: 2, models, curveMs: [[8, 0.1]] });
  gateway.submit([3], { route: 1 });
  const [busy] = other.jobs();
  worker.leave();
  gateway.submit([4], { route: 1 });
  gateway.submit([5]);
  // Kept free: nothing is sent beside or behind, although there is credit.
  expect(other.jobs()).toEqual([]);
  other.answer(busy!);
  const order: number[][] = [];
  for (let jobs = other.jobs(); jobs.length > 0; jobs = other.jobs()) {
    order.push(...requestsOf(jobs));
    for (const job of jobs) other.answer(job);
  }
  expect(order).toEqual([[1], [2], [4], [5]]);
  expectAtRest(driver);
});

test("what a lost worker had, and what is given up for it, is told with the ids of the requests", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const first = driver.worker("first");
  for (const number of [1, 2]) gateway.submit([number], { trace: encodeTrace(`r${number}`) });
  expect(requestsOf(first.jobs())).toEqual([[1, 2]]);
  first.leave();
  const second = driver.worker("second");
  expect(requestsOf(second.jobs())).toEqual([[1]]);
  second.leave();
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "poison" }]);
  const told = driver.reports.filter(({ level, fields }) => level === "warn" && "http.request.id" in fields);
  expect(
    told.map(({ text, fields }) => [text, fields["worker"], fields["http.request.id"], fields["error.code"]]),
  ).toEqual([
    ["requests of a lost worker wait again", "first", "r1 r2", undefined],
    ["a request is given up", "second", "r1", "poison"],
  ]);
});

test("a request that loses a second worker while it runs alone is poison, and costs those beside it nothing", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  gateway.submit([1, 2, 3]);
  expect(gateway.answers()).toHaveLength(3);
  const first = driver.worker("first");
  gateway.submit([1, 2, 3]);
  expect(requestsOf(first.jobs())).toEqual([[1, 2, 3]]);
  first.leave();
  const second = driver.worker("second", { curveMs: [[8, 0.1]], slots: 2 });
  expect(requestsOf(second.jobs())).toEqual([[1]]);
  second.leave();
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "poison" }]);
  const third = driver.worker("third");
  for (const number of [2, 3]) {
    const [job] = third.jobs();
    expect(requestsOf([job!])).toEqual([[number]]);
    third.answer(job!);
  }
  expect(gateway.answers().map(({ code }) => code)).toEqual(["ok", "ok"]);
  expectAtRest(driver);
});

test("a request that may not run twice ends with its worker", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1], { flags: REQUEST_FLAGS.noRetry });
  worker.jobs();
  worker.leave();
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "worker_lost" }]);
});

test("a batch that is handed back untried goes back as it was, but not for ever", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1, 2]);
  let rounds = 0;
  for (let [job] = worker.jobs(); job !== undefined; [job] = worker.jobs()) {
    expect(requestsOf([job])).toEqual([[1, 2]]);
    expect(job.flags).toBe(0);
    worker.handBack(job, false);
    rounds++;
  }
  expect(rounds).toBe(16);
  expect(gateway.answers().map(({ code }) => code)).toEqual(["unavailable", "unavailable"]);
  expectAtRest(driver);
});

test("a request whose attempts fail three times is given up, and its time is accounted as retry", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1]);
  for (let round = 0; round < 3; round++) {
    const [job] = worker.jobs();
    driver.advance(10);
    worker.handBack(job!, true);
  }
  expect(gateway.take("REJECT")).toMatchObject([
    { items: [{ code: ERROR_CODES.unavailable.number, retryUs: 20_000, brokerQueueUs: 0 }] },
  ]);
  expectAtRest(driver);
});

test("a cancelled request leaves the queue, or its worker is told and its answer is dropped; credit comes from the worker alone", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 1 })];
  gateway.submit([1, 2]);
  const [job] = worker.jobs();
  gateway.submit([3]);
  gateway.cancel(2, 3, 99);
  expect(worker.take("CANCEL")).toMatchObject([{ items: [{ batch: job!.batch, request: 1 }] }]);
  gateway.cancel(1);
  gateway.submit([4]);
  expect(worker.jobs()).toEqual([]);
  worker.answer(job!);
  expect(requestsOf(worker.jobs())).toEqual([[4]]);
  expect(gateway.answers()).toEqual([]);
});

test("when a gateway is lost its requests are forgotten, and workers are told in one message", () => {
  const driver = new BrokerDriver();
  const [gateway, other] = [driver.gateway("a"), driver.gateway("b")];
  const worker = driver.worker();
  gateway.submit([1, 2, 3]);
  other.submit([1]);
  const [job] = worker.jobs();
  gateway.submit([4, 5]);
  gateway.leave();
  expect(
    worker.take("CANCEL").map(({ items }) => items.map(({ request }) => request).toSorted((a, b) => a - b)),
  ).toEqual([[0, 2, 3]]);
  worker.answer(job!);
  expect(other.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
  expect(gateway.answers()).toEqual([]);
  expectAtRest(driver);
});

test("a worker that answers nonsense gets nothing by it: unknown batches, wrong positions, the same twice", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1, 2, 3]);
  const [job] = worker.jobs();
  worker.say(resultMessage({ ...job!, batch: 999 }, 1));
  worker.say({ command: "NACK", batch: 999, code: 1, started: true, retryAfterMs: 0, text: "" });
  expect(gateway.answers()).toEqual([]);
  const items = [0, 0, 7, 2].map((position) => resultItem(job!, position));
  worker.say(resultMessage(job!, 1, items));
  worker.say(resultMessage(job!, 1));
  expect(gateway.answers()).toEqual([
    { request: 1, attempt: 0, code: "ok" },
    { request: 2, attempt: 0, code: "internal" },
    { request: 3, attempt: 0, code: "ok" },
  ]);
  expectAtRest(driver);
});

test("a number that is open is not taken twice; once it is answered it may come again", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 9 })];
  gateway.submit([1]);
  gateway.submit([1]);
  const [first] = worker.jobs();
  gateway.submit([1], { attempt: 1 });
  expect(worker.jobs()).toEqual([]);
  worker.answer(first!);
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
  gateway.submit([1], { attempt: 1 });
  const [second] = worker.jobs();
  worker.answer(second!);
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 1, code: "ok" }]);
  expectAtRest(driver);
});

test("the most urgent model goes first, and each gets its turn", () => {
  const driver = new BrokerDriver();
  const models = [modelOf("m"), modelOf("n"), modelOf("o")];
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { models, slots: 2 })];
  gateway.submit([1], { route: 0, budgetUs: 300_000 });
  gateway.submit([2], { route: 1, budgetUs: 200_000 });
  gateway.submit([3], { route: 2, budgetUs: 100_000 });
  expect(requestsOf(worker.jobs())).toEqual([[3], [2]]);
});

test("least slack goes first: what is left of the budget once the batch has run, not the deadline", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = ["fast", "slow", "third"].map((name) => modelOf(name, { maxBatchSize: 1 }));
  const worker = driver.worker("w", { models });
  // Each teaches its time; then the third has had more than the others, who wanted nothing.
  const run = (route: number, ms: number): void => {
    gateway.submit([1], { route });
    const [job] = worker.jobs();
    driver.advance(ms);
    worker.answer(job!, ms);
  };
  run(0, 2);
  run(1, 80);
  for (let i = 0; i < 5; i++) run(2, 80);
  gateway.submit([2], { route: 2 });
  const [busy] = worker.jobs();
  gateway.submit([3], { route: 0, budgetUs: 210_000 });
  gateway.submit([4], { route: 1, budgetUs: 250_000 });
  driver.advance(79);
  worker.answer(busy!, 79);
  // 129 ms are left after the one, 91 ms after the other; neither has had more than its share.
  expect(requestsOf(worker.jobs())).toEqual([[4]]);
});

test("a worker that says a run took years costs its model no more turns than the time that it was away", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = ["m", "n"].map((name) => modelOf(name, { maxBatchSize: 1 }));
  const worker = driver.worker("w", { models, credit: 1, curveMs: [[1, 10]] });
  gateway.submit([0], { route: 0 });
  let [job] = worker.jobs();
  const ran: number[] = [];
  for (let number = 1; number < 40; number += 2) {
    gateway.submit([number], { route: 0, budgetUs: 60_000_000 });
    gateway.submit([number + 1], { route: 1, budgetUs: 60_000_000 });
    driver.advance(10);
    worker.answer(job!, number === 1 ? 1e12 : 10);
    [job] = worker.jobs();
    ran.push(job!.model);
  }
  expect(ran.filter((model) => model === 0).length).toBeGreaterThanOrEqual(9);
});

test("where batching pays and requests keep coming, a small batch is held for a slot's turn, and leaves larger", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  // 40 ms a batch, hardly more for eight rows.
  const curve: [number, number][] = [
    [1, 40],
    [8, 40.7],
  ];
  const workers = [driver.worker("a", { curveMs: curve }), driver.worker("b", { curveMs: curve })];
  const jobs = (): MessageOf<"JOB">[] => workers.flatMap((worker) => worker.jobs());
  gateway.submit([1]);
  for (let number = 2; number <= 4; number++) {
    driver.advance(4);
    gateway.submit([number]);
  }
  // The second slot is idle: 2 to 4 wait for their turn, 20 ms after the first batch.
  expect(requestsOf(jobs())).toEqual([[1]]);
  driver.advance(7);
  expect(requestsOf(jobs())).toEqual([]);
  driver.advance(2);
  expect(requestsOf(jobs())).toEqual([[2, 3, 4]]);
});

test("a request that cannot be in time is shed at once, and told when to come again; alone it is tried once a second", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs })];
  gateway.submit([1], { budgetUs: 2_000 });
  // Nothing has run for long: only a run can tell.
  const [probe] = worker.jobs();
  expect(requestsOf([probe!])).toEqual([[1]]);
  worker.answer(probe!, 10);
  gateway.take("RESULT");
  gateway.submit([2], { budgetUs: 2_000 });
  expect(worker.jobs()).toEqual([]);
  const [reject] = gateway.take("REJECT");
  expect(reject!.items).toMatchObject([{ request: 2, code: ERROR_CODES.shed.number }]);
  expect(reject!.items[0]!.retryAfterMs).toBeGreaterThan(0);
  gateway.submit([3], { budgetUs: 20_000 });
  expect(requestsOf(worker.jobs())).toEqual([[3]]);
});

test("what cannot be in time behind what leaves before it is refused at the door, and told by how much; what can is let in", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs })];
  gateway.submit(
    Array.from({ length: 40 }, (_, i) => i + 1),
    { budgetUs: 100_000 },
  );
  const [running] = worker.jobs();
  expect(running!.items).toHaveLength(8);
  // A second batch is staged, for 4 ms more; 24 rows wait and leave earlier: three batches of 17 ms, then its own of 17.
  driver.advance(30);
  gateway.submit([100], { budgetUs: 71_000 });
  const [reject] = gateway.take("REJECT");
  expect(reject!.items).toMatchObject([{ request: 100, code: ERROR_CODES.shed.number }]);
  expect(reject!.items[0]!.retryAfterMs).toBe(2);
  gateway.submit([101], { budgetUs: 150_000 });
  // It would be in time, but those that were let in before it would not: a shorter budget opens no door.
  gateway.submit([102], { budgetUs: 30_000 });
  expect(gateway.take("REJECT")).toMatchObject([{ items: [{ request: 102, code: ERROR_CODES.shed.number }] }]);
  // A more urgent class does not ask what it makes late.
  gateway.submit([102], { budgetUs: 30_000, priority: 1 });
  expect(gateway.take("REJECT")).toEqual([]);
  const [staged] = worker.jobs();
  worker.answer(running!, 17);
  worker.answer(staged!, 17);
  expect(requestsOf(worker.jobs()).flat()).toContain(102);
});

test("while a run lasts for seconds the door is no less strict: its answer will tell whether the prediction is wrong", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[8, 3_000]] })];
  gateway.submit([1]);
  expect(requestsOf(worker.jobs())).toEqual([[1]]);
  driver.advance(2_000);
  gateway.submit([2], { budgetUs: 2_000_000 });
  expect(gateway.take("REJECT")).toMatchObject([{ items: [{ request: 2, code: ERROR_CODES.shed.number }] }]);
});

test("a prediction that is far too long does not lock a model out while another keeps the slot busy", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = [modelOf("busy"), modelOf("wronged")];
  const worker = driver.worker("w", { models, curveMs: [[1, 50]] });
  const ran = new Set<number>();
  let number = 0;
  // Both really take 4 ms; only the first has the time to show it.
  for (let i = 0; i < 100; i++) {
    gateway.submit([++number], { route: 0 });
    gateway.submit([++number], { route: 1, budgetUs: 40_000 });
    driver.advance(4);
    for (const job of worker.jobs()) {
      ran.add(job.model);
      worker.answer(job, 4);
    }
    driver.advance(16);
  }
  expect(ran).toEqual(new Set([0, 1]));
});

test("nothing is held back for more requests than one message carries", () => {
  const driver = new BrokerDriver();
  const models = [modelOf("m", { maxBatchSize: 1_024, maxHoldMs: 100 })];
  const gateway = driver.gateway();
  const curveMs: [number, number][] = [
    [1, 42.5],
    [64, 200],
  ];
  const [first, second] = [driver.worker("1", { models, curveMs }), driver.worker("2", { models, curveMs })];
  const submit = (from: number, count: number): void =>
    gateway.submit(
      Array.from({ length: count }, (_, i) => from + i),
      { budgetUs: 60_000_000 },
    );
  submit(1, 1);
  driver.advance(10);
  const [running] = first.jobs();
  submit(2, 255);
  // So many come that more are waited for.
  expect([...first.jobs(), ...second.jobs()]).toEqual([]);
  submit(257, 1);
  expect(second.jobs().map(({ items }) => items.length)).toEqual([256]);
  expect(running!.items).toHaveLength(1);
});
