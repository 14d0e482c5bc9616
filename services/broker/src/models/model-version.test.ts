import { expect, test } from "vitest";
import { ModelVersion } from "./model-version.ts";
import { helloMessage, modelOf, modelsMessage } from "../testing/message-builders.ts";
import { WorkerSession } from "../sessions/worker-session.ts";

const stamp = { epoch: "0".repeat(16), seq: 1 };

function workerOf(instance: string, slots: number): WorkerSession {
  return new WorkerSession(
    { peer: instance, instance, stamp, content: helloMessage("worker", instance, { slots }) },
    0,
  );
}

test("clients that come up with ever new shapes do not drive out the curve that is in use", () => {
  const model = new ModelVersion(0, modelOf("m"));
  const used = model.curve("", "kind");
  used.record(1, 10);
  for (let i = 0; i < 10_000; i++) {
    model.curve(`${i}`, "kind");
    expect(model.curve("", "kind")).toBe(used);
  }
  expect([...model.curves()].length).toBeLessThanOrEqual(256);
});

test("kinds of workers have curves of their own; a worker's own measurement counts until there are samples", () => {
  const model = new ModelVersion(0, modelOf("m"));
  const [a, b] = [workerOf("a", 1), workerOf("b", 1)];
  model.join(a, modelsMessage([model.description], { curveMs: [[1, 10]], fingerprint: "a" }).models[0]!);
  model.join(b, modelsMessage([model.description], { curveMs: [[1, 20]], fingerprint: "b" }).models[0]!);
  model.join(b, modelsMessage([model.description], { curveMs: [[1, 99]], fingerprint: "b" }).models[0]!);
  expect(model.curve("", "a").predict(1)?.q50Ms).toBe(10);
  expect(model.curve("", "b").predict(1)?.q50Ms).toBe(20);
});

test("a worker's announcement seeds both quantiles, bucket by bucket, and fills in for sizes that were not run", () => {
  const model = new ModelVersion(0, modelOf("m"));
  const entry = modelsMessage([model.description]).models[0]!;
  const point = { rows: 1, q50Us: 2_000, q95Us: 5_000, samples: 20, bucket: "" };
  model.join(workerOf("a", 1), { ...entry, curve: [point, { ...point, bucket: "8", q50Us: 4_000 }] });
  expect(model.curve("", "kind").points()).toEqual([{ rows: 1, q50Ms: 2, q95Ms: 5, samples: 20 }]);
  expect(model.curve("8", "kind").predict(1)).toMatchObject({ q50Ms: 4, q95Ms: 5 });
  model.join(workerOf("b", 1), {
    ...entry,
    curve: [
      { ...point, q50Us: 1 },
      { ...point, rows: 8, q95Us: 9_000 },
    ],
  });
  expect(model.curve("", "kind").points()).toMatchObject([
    { rows: 1, q50Ms: 2 },
    { rows: 8, q95Ms: 9 },
  ]);
});

test("Retry-After follows from what waits, the pace, and the slots that are there; it is bounded", () => {
  const model = new ModelVersion(0, modelOf("m"));
  const entry = modelsMessage([model.description]).models[0]!;
  const [a, b] = [workerOf("a", 2), workerOf("b", 2)];
  const curve = model.curve("", "kind");
  model.ran({ rows: 10, curve }, 50);
  expect(model.drainTimeMs()).toBe(1_000);
  for (const worker of [a, b, b]) model.join(worker, entry);
  expect(model.drainTimeMs()).toBe(1);
  const waiting = { classIndex: 1, bucket: "", rows: 1_000, bytes: 0, deadlineMs: 1, queueIndex: -1 };
  model.backlog.push(waiting as Parameters<typeof model.backlog.push>[0]);
  expect(model.drainTimeMs()).toBe(1_250);
  model.leave(a);
  model.leave(a);
  expect(model.drainTimeMs()).toBe(2_500);
  for (let i = 0; i < 100; i++) model.ran({ rows: 1, curve }, 1e9);
  expect(model.drainTimeMs()).toBe(60_000);
});

test("the quick look at the wait never falls below what the curve says of full batches", () => {
  const model = new ModelVersion(0, modelOf("m"));
  expect(model.longestWaitMs(0)).toBe(Infinity);
  const curve = model.curve("", "kind");
  curve.record(1, 1);
  curve.record(8, 8);
  for (let i = 0; i < 50; i++) model.ran({ rows: 1, curve }, 1);
  for (const ahead of [0, 8, 640]) {
    const batches = Math.ceil(ahead / model.description.maxBatchSize) + 1;
    expect(model.longestWaitMs(ahead)).toBeGreaterThan(batches * 8);
  }
});
