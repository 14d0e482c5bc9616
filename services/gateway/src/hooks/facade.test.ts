import { expect, test } from "vitest";
import { testModel } from "../testing.ts";
import { facadeOf, readModelInputs } from "./facade.ts";
import type { Hooks } from "./hook-module.ts";

test("what bounds and pads a model's inputs holds for clients only where they send these inputs", () => {
  const model = testModel({
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1] }],
    maxBatchElements: 8,
    axes: [{ sizes: [4], inputs: [{ tensor: 0, dimension: 1 }] }],
    optionalInputs: [0],
  });
  const { maxBatchElements, axes, optionalInputs } = model;
  expect(facadeOf(model, {} as Hooks)).toMatchObject({ maxBatchElements, axes, optionalInputs });
  const inputs = [{ name: "id", datatype: "BYTES", shape: [-1] }] as const;
  expect(facadeOf(model, { inputs } as unknown as Hooks)).toMatchObject({
    inputs,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
  });
});

test("a hook may leave out what a client may leave out", () => {
  const ints = { datatype: "INT8", shape: [-1, -1] } as const;
  const inputs = [
    { name: "mask", ...ints },
    { name: "tokens", ...ints },
  ];
  const axes = [{ sizes: [4], inputs: [{ tensor: 1, dimension: 1 }] }];
  const model = testModel({ inputs, axes, optionalInputs: [0] });
  const tokens = { shape: [1, 2], data: [1, 2] };
  const names = (given: object) => {
    const set = readModelInputs(model, given);
    return typeof set === "string" ? set : set.inputs.map(({ name }) => name);
  };
  expect(names({ tokens })).toEqual(["tokens"]);
  expect(names({ tokens, mask: tokens })).toEqual(["mask", "tokens"]);
  expect(names({ mask: tokens })).toBe('it gave no "tokens"');
});
