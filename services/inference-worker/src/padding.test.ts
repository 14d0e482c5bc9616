import { type Datatype, encodeStrings, FREE, type TensorSpec } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { assemble, type AssembleItem, split } from "./assemble.ts";
import { resolvePadding } from "./padding.ts";

/** Pictures of any size with a name: two axes, a mask over both, and an input that lies along none. */
const INPUTS: readonly TensorSpec[] = [
  { name: "mask", datatype: "BOOL", shape: [FREE, FREE, FREE] },
  { name: "image", datatype: "INT16", shape: [FREE, 2, FREE, FREE] },
  { name: "title", datatype: "BYTES", shape: [FREE] },
];
const OUTPUTS: readonly TensorSpec[] = [
  { name: "out", datatype: "INT16", shape: [FREE, 2, FREE, FREE] },
  { name: "seen", datatype: "BOOL", shape: [FREE, FREE, FREE] },
];
const PADDING = resolvePadding(
  {
    axes: [
      { sizes: [2, 4], inputs: { image: 2, mask: 1 }, outputs: { out: 2, seen: 1 }, mask: "mask" },
      { sizes: [3, 5], inputs: { image: 3, mask: 2 }, outputs: { out: 3, seen: 2 }, mask: "" },
    ],
    values: { image: -1 },
  },
  { inputs: INPUTS, outputs: OUTPUTS },
);
const MODEL = { inputs: INPUTS, batching: true, maxBatchSize: 64, platform: "onnxruntime_onnx" } as const;

type Size = { readonly rows: number; readonly height: number; readonly width: number };

/** Pictures whose elements are all different from padding, and from those of other seeds. */
function itemOf({ rows, height, width }: Size, seed = 1, mask?: Uint8Array): AssembleItem {
  const image = Int16Array.from({ length: rows * 2 * height * width }, (_, i) => seed * 1000 + i);
  const titles = encodeStrings(Array.from({ length: rows }, (_, i) => `${seed}/${i}`));
  const parts: { name: string; datatype: Datatype; shape: number[]; data: Uint8Array }[] = [
    { name: "image", datatype: "INT16", shape: [rows, 2, height, width], data: new Uint8Array(image.buffer) },
    { name: "title", datatype: "BYTES", shape: [rows], data: titles },
  ];
  if (mask !== undefined) parts.unshift({ name: "mask", datatype: "BOOL", shape: [rows, height, width], data: mask });
  return {
    rows,
    tensors: parts.map(({ data, ...header }) => ({ ...header, bytes: data.byteLength })),
    payload: Buffer.concat(parts.map(({ data }) => data)),
  };
}

test("a smaller picture lies in the corner of its place, and the mask that it leaves out tells where", () => {
  const items = [itemOf({ rows: 1, height: 1, width: 2 }, 1), itemOf({ rows: 1, height: 2, width: 3 }, 2)];
  const { inputs, extents, elements, paddingElements } = assemble(MODEL, items, PADDING);
  const [mask, image, title] = inputs;
  expect(extents).toMatchObject({
    own: [
      [1, 2],
      [2, 3],
    ],
    padded: [2, 3],
  });
  expect([mask!.shape, image!.shape, title!.shape]).toEqual([[2, 2, 3], [2, 2, 2, 3], [2]]);
  const made = [1, 1, 0, 0, 0, 0, ...Array<number>(6).fill(1)];
  expect([...new Uint8Array(mask!.data)]).toEqual(made);
  const first = [1000, 1001, -1, -1, -1, -1, 1002, 1003, -1, -1, -1, -1];
  expect([...new Int16Array(image!.data)]).toEqual([...first, ...Array.from({ length: 12 }, (_, i) => 2000 + i)]);
  expect(Buffer.from(title!.data)).toEqual(encodeStrings(["1/0", "2/0"]));
  // Of the first picture 2 of 6 places of the mask are its own, and 4 of 12 of the image.
  expect([elements, paddingElements]).toEqual([38, 12]);
});

test("a mask that is given is padded with zeros, and otherwise stays as it is", () => {
  const { inputs } = assemble(MODEL, [itemOf({ rows: 1, height: 1, width: 2 }, 1, Uint8Array.of(0, 1))], PADDING);
  expect([...new Uint8Array(inputs[0]!.data)]).toEqual([0, 1, 0, 0, 0, 0]);
});

test("any mix of sizes gets its own elements back from a model that passes them through", () => {
  const size = fc.record({
    rows: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 4 }),
    width: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(size, { minLength: 1, maxLength: 5 }), (sizes) => {
      const items = sizes.map((one, i) => itemOf(one, i + 1));
      const { inputs, extents, rows, included, elements, paddingElements } = assemble(MODEL, items, PADDING);
      expect(included).toEqual(items.map((_, i) => i));
      const [mask, image] = inputs;
      const outputs = [
        { ...image!, name: "out", data: image!.data.slice(0) },
        { ...mask!, name: "seen", data: mask!.data.slice(0) },
      ];
      const answers = split(
        outputs,
        items.map((item) => item.rows),
        { wantedOutputs: items.map(() => []), extents },
      );
      let own = rows;
      for (const [i, { tensors, payload }] of answers.entries()) {
        const { height, width } = sizes[i]!;
        const [picture] = items[i]!.tensors;
        own += items[i]!.rows * height * width * 3;
        expect(tensors[0]).toEqual({ ...picture, name: "out" });
        expect(tensors[1]).toMatchObject({ name: "seen", shape: [items[i]!.rows, height, width] });
        expect(Buffer.compare(payload.subarray(0, picture!.bytes), items[i]!.payload.subarray(0, picture!.bytes))).toBe(
          0,
        );
        // All of its own elements are seen.
        expect(payload.subarray(picture!.bytes).every((byte) => byte === 1)).toBe(true);
      }
      expect(elements - paddingElements).toBe(own);
    }),
    { numRuns: 200 },
  );
});

const ok = itemOf({ rows: 1, height: 1, width: 1 });

test.each<[string, AssembleItem, RegExp]>([
  ["larger than the largest size", itemOf({ rows: 1, height: 5, width: 1 }), /"image": 5 is not between 1 and 4/],
  ["of no size", itemOf({ rows: 1, height: 0, width: 1 }), /"image": 0 is not between 1 and 4/],
  [
    "of two sizes along one axis",
    {
      ...itemOf({ rows: 1, height: 2, width: 1 }, 1, new Uint8Array(2)),
      tensors: itemOf({ rows: 1, height: 1, width: 2 }, 1, new Uint8Array(2)).tensors.map((t, i) =>
        i === 1 ? { ...t, shape: [1, 2, 2, 1] } : t,
      ),
    },
    /another length than one that goes with it/,
  ],
  [
    "with bytes behind its last input",
    { ...ok, payload: Buffer.concat([ok.payload, Buffer.alloc(1)]) },
    /1 bytes behind/,
  ],
  ["without an input that is no mask", { ...ok, tensors: ok.tensors.slice(1) }, /1 inputs for a model of 3/],
])("an item %s stays out, and the others run", (_, bad, message) => {
  const { faults, included } = assemble(MODEL, [bad, ok], PADDING);
  expect(faults[0]?.message).toMatch(message);
  expect(included).toEqual([1]);
});

test("whatever an item holds, it does not throw", () => {
  const number = fc.oneof(fc.nat(3), fc.double(), fc.constantFrom(-1, 2 ** 40));
  const anything = fc.record({
    rows: fc.oneof(fc.constant(1), number),
    tensors: fc.array(
      fc.record({
        name: fc.constantFrom("image", "title", "mask"),
        datatype: fc.constantFrom<Datatype>("INT16", "BYTES", "BOOL"),
        shape: fc.array(number, { maxLength: 5 }),
        bytes: number,
      }),
      { maxLength: 3 },
    ),
    payload: fc.uint8Array({ maxLength: 32 }),
  });
  fc.assert(
    fc.property(anything, (item) => {
      expect(assemble(MODEL, [ok, item], PADDING).included[0]).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test("an output that has not the padded size is nobody's", () => {
  const { inputs, extents } = assemble(MODEL, [ok], PADDING);
  const outputs = [
    { ...inputs[1]!, name: "out", shape: [1, 2, 1, 3] },
    { ...inputs[0]!, name: "seen" },
  ];
  const [answer] = split(outputs, [1], { wantedOutputs: [[]], extents });
  expect(answer?.fault).toMatchObject({
    code: "model_error",
    message: expect.stringMatching(/"out" \[1, 2, 1, 3\] is not the padded 2/),
  });
});
