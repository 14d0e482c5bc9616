import { STAGES } from "@millrace/runtime";
import fc from "fast-check";
import { expect, test } from "vitest";
import { msText, serverTiming } from "./server-timing.ts";
import { TEST_STAGES } from "../testing.ts";

const own = { parseMs: 0.1234, preprocessMs: 0, postprocessMs: 1, encodeMs: 20.5 };

test("every stage of the vocabulary in its order, then the run", () => {
  const text = serverTiming(own, TEST_STAGES, { batchRows: 8, worker: 'worker"1' });
  expect(text).toBe(
    "parse;dur=0.123, preprocess;dur=0, gateway_queue;dur=0.011, broker_queue;dur=0.022, batch_wait;dur=0.033, " +
      "compute;dur=0.044, postprocess;dur=1, retry;dur=0, network;dur=0.055, encode;dur=20.5, " +
      'batch;desc="8", worker;desc="worker_1"',
  );
  const names = text.split(", ").map((part) => part.split(";")[0]);
  expect(names).toEqual([...Object.keys(STAGES), "batch", "worker"]);
  expect(serverTiming(own, TEST_STAGES)).not.toContain("batch;");
});

test("milliseconds have at most three decimals and are never negative", () => {
  expect([0.0004, 0.0005, 0.9999, 1.001, 123456.7, -1, Number.NaN].map(msText)).toEqual([
    "0",
    "0.001",
    "1",
    "1.001",
    "123456.7",
    "0",
    "0",
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000_000 }), (micros) => {
      expect(msText(micros / 1000)).toBe(String(micros / 1000));
    }),
  );
});
