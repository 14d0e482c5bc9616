import type { Tensor as HookTensor, Tensors } from "@millrace/hooks";
import {
  DATATYPES,
  type Datatype,
  elementCount,
  encodeStrings,
  type Tensor,
  type TensorSpec,
} from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fromHookTensors, toHookTensors } from "./hook-tensor.ts";

const TYPES = Object.keys(DATATYPES) as Datatype[];

/** A tensor as it comes from the wire, at any alignment. */
const tensors = fc
  .record({
    datatype: fc.constantFrom(...TYPES),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    skew: fc.nat(7),
    seed: fc.infiniteStream(fc.nat(255)),
  })
  .map(({ datatype, shape, skew, seed }): Tensor => {
    const count = elementCount(shape);
    const next = (): number => Number(seed.next().value);
    const bytes =
      datatype === "BYTES"
        ? encodeStrings(Array.from({ length: count }, () => String.fromCodePoint(next()).repeat(next() % 5)))
        : Uint8Array.from({ length: count * DATATYPES[datatype].bytes }, () =>
            datatype === "BOOL" ? next() % 2 : next(),
          );
    const data = new Uint8Array(bytes.byteLength + skew).subarray(skew);
    data.set(bytes);
    return { name: "x", datatype, shape, data };
  });

/** Looks at all data, as hooks do that use them. */
function look(seen: Tensors): Tensors {
  for (const { data } of Object.values(seen)) expect(data).toBeDefined();
  return seen;
}

const anyShape = (tensor: Tensor): TensorSpec => ({ ...tensor, shape: tensor.shape.map(() => -1) });

test("tensors come back from a hook bit by bit, whatever their type and alignment: as copies, unless it never looked", () => {
  fc.assert(
    fc.property(tensors, fc.boolean(), (tensor, looks) => {
      const seen = toHookTensors([tensor]);
      if (looks) look(seen);
      const given = fromHookTensors([anyShape(tensor)], seen);
      expect(given).toHaveLength(1);
      const [back] = given as Tensor[];
      expect(back).toMatchObject({ name: "x", datatype: tensor.datatype, shape: tensor.shape });
      expect(Buffer.from(back!.data).equals(tensor.data)).toBe(true);
      expect(back!.data.buffer === tensor.data.buffer).toBe(!looks);
    }),
  );
});

const PAIR: Tensor = { name: "x", datatype: "FP32", shape: [1, 2], data: new Uint8Array(Float32Array.of(3, 5).buffer) };

/** What a hook may do with a tensor, and what it then gives. */
test.for<[string, (x: HookTensor & { datatype: "FP32" }) => unknown, readonly number[]]>([
  ["written into", (x) => (x.data.set([4, 6]), x), [4, 6]],
  ["spread", (x) => ({ ...x }), [3, 5]],
  ["given other data", (x) => Object.assign(x, { data: [7, 8] }), [7, 8]],
  ["cloned, as for a thread", (x) => structuredClone(x), [3, 5]],
  ["told as JSON", (x) => ({ ...x, data: Object.values((JSON.parse(JSON.stringify(x)) as typeof x).data) }), [3, 5]],
])("a tensor that is %s counts as it is then, and leaves what came in as it was", ([, change, expected]) => {
  const { x } = toHookTensors([PAIR]) as { x: HookTensor & { datatype: "FP32" } };
  const [back] = fromHookTensors([anyShape(PAIR)], { x: change(x) }) as [Tensor];
  expect([...new Float32Array(new Uint8Array(back.data).buffer)]).toEqual(expected);
  expect([...new Float32Array(PAIR.data.buffer)]).toEqual([3, 5]);
});

test("a tensor that no hook has looked at fits no other type or shape", () => {
  const { x } = toHookTensors([PAIR]);
  expect(fromHookTensors([{ name: "x", datatype: "FP64", shape: [-1, 2] }], { x })).toMatch(/must be a Float64Array/);
  const changed = toHookTensors([PAIR]);
  Object.assign(changed["x"]!.shape, [2]);
  expect(fromHookTensors([anyShape(PAIR)], changed)).toBe('"x": it has 2 elements, its shape is [2,2]');
});

test("arrays are taken as well as typed arrays, nested or flat, texts as bytes", () => {
  const specs = [
    { name: "f", datatype: "FP32", shape: [-1, 2] },
    { name: "i", datatype: "INT64", shape: [2] },
    { name: "t", datatype: "BYTES", shape: [2, 1] },
  ] as const;
  const given = fromHookTensors(specs, {
    f: { shape: [1, 2], data: [[1, 0.5]] },
    i: { shape: [2], data: [7, 2n ** 62n] },
    t: { shape: [2, 1], data: [["ä"], [Buffer.from([0, 255])]] },
  });
  expect(toHookTensors(given as Tensor[])).toMatchObject({
    f: { data: Float32Array.of(1, 0.5) },
    i: { data: BigInt64Array.of(7n, 2n ** 62n) },
    t: { data: [Buffer.from("ä"), Buffer.from([0, 255])] },
  });
});

const SPECS = [{ name: "x", datatype: "FP32", shape: [-1, 2] }] as const;

test.for<[string, unknown, string]>([
  ["nothing", undefined, "it gave no object of tensors"],
  ["no tensor", {}, 'it gave no "x"'],
  ["one too many", { x: { shape: [0, 2], data: [] }, y: 1 }, 'it gave "y", which is not asked for'],
  ["null", { x: null }, '"x": it is no tensor {shape, data}'],
  ["no shape", { x: { data: [1] } }, '"x": its shape must be an array of sizes (integers, 0 or more)'],
  ["a wrong rank", { x: { shape: [2], data: [1, 2] } }, '"x": its shape is [2], expected is [-1,2]'],
  ["a wrong size", { x: { shape: [1, 3], data: [1, 2, 3] } }, '"x": its shape is [1,3], expected is [-1,2]'],
  [
    "too few elements",
    { x: { shape: [2, 2], data: new Float32Array(3) } },
    '"x": it has 3 elements, its shape is [2,2]',
  ],
  ["too many in an array", { x: { shape: [1, 2], data: [1, 2, 3] } }, '"x": its data do not fit its shape'],
  [
    "another typed array",
    { x: { shape: [1, 2], data: new Float64Array(2) } },
    '"x": its data must be a Float32Array or an array, as it is FP32',
  ],
  ["a secret text for a number", { x: { shape: [1, 2], data: [1, "secret"] } }, '"x": an element does not fit FP32'],
  ["NaN in an array", { x: { shape: [1, 2], data: [1, Number.NaN] } }, '"x": an element does not fit FP32'],
])("a hook that gave %s is told what is wrong", ([, given, fault]) => {
  expect(fromHookTensors(SPECS, given)).toBe(fault);
});

test.for<[Datatype, unknown, string]>([
  ["BOOL", Uint8Array.of(2), '"x": a BOOL is neither 0 nor 1'],
  ["FP16", [1], '"x": its data must be a Float16Array, as it is FP16'],
  ["INT64", [2 ** 60], '"x": an integer beyond 2^53 must be a bigint'],
  ["BYTES", [1], '"x": an element is neither text nor bytes'],
  ["BYTES", "text", '"x": its data must be an array of strings or bytes, as it is BYTES'],
  ["BYTES", ["a", "b"], '"x": it has 2 elements, its shape is [1]'],
])("an element that does not fit %s is refused: %s", ([datatype, data, fault]) => {
  expect(fromHookTensors([{ name: "x", datatype, shape: [1] }], { x: { shape: [1], data } })).toBe(fault);
});
