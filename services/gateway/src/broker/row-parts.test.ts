import { encodeStrings, type Tensor } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { InferenceRequest } from "./inference.ts";
import { packInputs } from "../forms/input-set.ts";
import { joinOutputs, partsOf } from "./row-parts.ts";
import { testModel } from "../testing.ts";

const INNER = [[], [1], [3], [2, 2], [0]] as const;

/** A tensor of so many rows, with values of its own in every element. */
const tensorOf = (name: string, rows: number): fc.Arbitrary<Tensor> =>
  fc
    .record({ inner: fc.constantFrom(...INNER), isText: fc.boolean(), words: fc.array(fc.string(), { minLength: 1 }) })
    .map(({ inner, isText, words }) => {
      const shape = [rows, ...inner];
      const count = shape.reduce((product, size) => product * size, 1);
      if (!isText)
        return {
          name,
          datatype: "INT32",
          shape,
          data: Buffer.from(Int32Array.from({ length: count }, (_, i) => i).buffer),
        };
      const texts = Array.from({ length: count }, (_, i) => `${i}${words[i % words.length]}`);
      return { name, datatype: "BYTES", shape, data: encodeStrings(texts) };
    });

const request: fc.Arbitrary<InferenceRequest> = fc.integer({ min: 1, max: 50 }).chain((rows) =>
  fc.tuple(...["a", "b", "c"].map((name) => tensorOf(name, rows))).chain((tensors) =>
    fc.integer({ min: 1, max: 3 }).map((count) => ({
      model: testModel({ maxRequestRows: 50 }),
      rows,
      bucket: "3|2,2",
      cost: rows * 5,
      ...packInputs(tensors.slice(0, count)),
      outputs: ["y"],
      budgetMs: 100,
      priority: 0,
      tenant: "t",
      requestId: "r",
    })),
  ),
);

test("any request, cut and put together again, is what it was, and each part is a request of its own", () => {
  fc.assert(
    fc.property(request, fc.integer({ min: 1, max: 60 }), (whole, rowsMax) => {
      const parts = partsOf(whole, rowsMax);
      expect(parts.length).toBe(Math.ceil(whole.rows / rowsMax));
      for (const [i, part] of parts.entries()) {
        expect(part.rows).toBe(i < parts.length - 1 ? rowsMax : whole.rows - i * rowsMax);
        expect(part).toMatchObject({
          model: whole.model,
          bucket: "3|2,2",
          cost: part.rows * 5,
          outputs: ["y"],
          budgetMs: 100,
          tenant: "t",
        });
        expect(Buffer.concat(part.inputs.map(({ data }) => data)).equals(part.payload)).toBe(true);
        for (const { shape } of part.inputs) expect(shape[0]).toBe(part.rows);
      }
      const rows = parts.map((part) => part.rows);
      const joined = joinOutputs(
        parts.map(({ inputs }) => inputs),
        rows,
      );
      expect(joined?.map(({ data, ...rest }) => ({ ...rest, data: Buffer.from(data) }))).toEqual(
        whole.inputs.map(({ data, ...rest }) => ({ ...rest, data: Buffer.from(data) })),
      );
    }),
  );
});

test("the only input is cut without a copy", () => {
  const data = Buffer.alloc(16);
  const tensors: Tensor[] = [{ name: "x", datatype: "FP32", shape: [4, 1], data }];
  const rest = { rows: 4, bucket: "", cost: 1, outputs: [], budgetMs: 1, priority: 0, tenant: "", requestId: "" };
  for (const { payload } of partsOf({ model: testModel(), ...packInputs(tensors), ...rest }, 3)) {
    expect(payload.buffer).toBe(data.buffer);
  }
});

const output = (name: string, rows: number, inner: readonly number[]): Tensor => ({
  name,
  datatype: "UINT8",
  shape: [rows, ...inner],
  data: Buffer.alloc(rows * inner.reduce((product, size) => product * size, 1)),
});

test.each<[string, Tensor[], Tensor[]]>([
  ["another inner shape", [output("y", 2, [3])], [output("y", 1, [4])]],
  ["another name", [output("y", 2, [3])], [output("z", 1, [3])]],
  ["one more output", [output("y", 2, [3])], [output("y", 1, [3]), output("z", 1, [3])]],
  ["one output less", [output("y", 2, [3]), output("z", 2, [])], [output("y", 1, [3])]],
  ["other rows than it was given", [output("y", 2, [3])], [output("y", 2, [3])]],
  ["another datatype", [output("y", 2, [3])], [{ ...output("y", 1, [3]), datatype: "INT8" }]],
])("parts of which one has %s have no common answer", (_, first, second) => {
  expect(joinOutputs([first, second], [2, 1])).toBe(undefined);
});

test("outputs are found by name, in whatever order a part has them", () => {
  const [a, b] = [output("a", 1, []), output("b", 1, [])];
  const swapped = [
    { ...b, data: Buffer.of(4) },
    { ...a, data: Buffer.of(3) },
  ];
  const joined = joinOutputs(
    [
      [
        { ...a, data: Buffer.of(1) },
        { ...b, data: Buffer.of(2) },
      ],
      swapped,
    ],
    [1, 1],
  );
  expect(joined?.map(({ name, shape, data }) => [name, shape, [...data]])).toEqual([
    ["a", [2], [1, 3]],
    ["b", [2], [2, 4]],
  ]);
});
