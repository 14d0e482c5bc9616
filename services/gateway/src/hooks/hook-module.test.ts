import { expect, test } from "vitest";
import { testModel } from "../testing.ts";
import { facadeOf } from "./facade.ts";
import { type Hooks, readHookModule } from "./hook-module.ts";

const preprocess = (): object => ({});
const after = (): void => {};
const spec = { name: "id", datatype: "BYTES", shape: [-1] };

test("what a module exports is taken as it is, on the gateway's thread unless it says otherwise", () => {
  expect(readHookModule({ preprocess, inputs: [spec] })).toEqual({ threads: 0, preprocess, inputs: [spec] });
  expect(readHookModule({ after, options: { thread: true } })).toEqual({ threads: 1, after });
  expect(readHookModule({ after, options: { thread: true, threads: 3 } })).toEqual({ threads: 3, after });
});

test("of inputs and outputs nothing is kept but what they are: they go to the threads that parse", () => {
  const own = { ...spec, shape: [-1], describe: () => "an id" };
  const { inputs } = readHookModule({ preprocess, inputs: [own] }) as Hooks;
  own.shape[0] = 7;
  expect(structuredClone(inputs)).toEqual([spec]);
});

test.for<[Record<string, unknown>, string]>([
  [{}, "it exports none of preprocess, postprocess, after"],
  [{ preproces: preprocess }, 'it exports "preproces", which is no hook'],
  [{ preprocess: 1 }, "its preprocess is no function"],
  [{ after, inputs: [spec] }, "its inputs: they need a preprocess hook"],
  [{ preprocess, outputs: [spec] }, "its outputs: they need a postprocess hook"],
  [{ preprocess, inputs: [] }, "its inputs: an array of {name, datatype, shape} is expected"],
  [{ preprocess, inputs: [null] }, "its inputs: a name is missing"],
  [{ preprocess, inputs: [{ ...spec, datatype: "TEXT" }] }, 'its inputs: "id" has no datatype that is known'],
  [
    { preprocess, inputs: [{ ...spec, shape: [-2] }] },
    'its inputs: the shape of "id" must be an array of sizes, -1 for any',
  ],
  [{ preprocess, inputs: [spec, spec] }, "its inputs: two have the same name"],
  [{ preprocess, options: { thread: 2 } }, "its options: thread must be true or false"],
  [{ preprocess, options: { thread: true, threads: 0 } }, "its options: threads must be 1 to 64"],
  [{ preprocess, options: { treads: 2 } }, 'its options: "treads" is not known'],
])("%o is refused", ([exported, fault]) => {
  expect(readHookModule(exported)).toBe(fault);
});

test("clients see a model with the hooks' inputs and outputs, and one whose hooks cannot be used as failed", () => {
  const model = testModel();
  const hooks = readHookModule({ preprocess, inputs: [spec] }) as Hooks;
  expect(facadeOf(model, hooks)).toEqual({ ...model, inputs: [spec] });
  expect(facadeOf(model, "SyntaxError: here")).toMatchObject({
    state: "failed",
    reason: "its hooks cannot be used: SyntaxError: here",
  });
  const fixed = readHookModule({ preprocess, inputs: [{ ...spec, shape: [1] }] }) as Hooks;
  expect(facadeOf(model, fixed)).toMatchObject({
    reason: 'its hooks cannot be used: the first dimension of "id" must be -1, as the model batches',
  });
  expect(facadeOf(testModel({ batching: false, maxBatchSize: 1 }), fixed)).toMatchObject({ state: "ready" });
  const loading = testModel({ state: "loading", inputs: [], outputs: [] });
  expect(facadeOf(loading, hooks)).toBe(loading);
});
