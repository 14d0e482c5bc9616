import type { ModelDescription, Tensor } from "@millrace/protocol";
import { expect, test } from "vitest";
import { assembleInputs, type InputSet } from "./input-set.ts";
import { parseOipRequest } from "./oip-request.ts";
import { parsePlainRequest } from "./plain-form.ts";
import { parseRawRequest } from "./raw-request.ts";
import { Refusal } from "../http/refusal.ts";
import { testModel } from "../testing.ts";
import { parseTfsRequest } from "./tfs-form.ts";

const ints = { datatype: "INT8", shape: [-1, -1] } as const;

/** Tokens with a mask, padded to 4, 8 or 16; and a side input of a fixed size. */
const MODEL: ModelDescription = testModel({
  name: "masked",
  inputs: [
    { name: "mask", ...ints },
    { name: "tokens", ...ints },
    { name: "side", datatype: "INT8", shape: [-1, 2] },
  ],
  axes: [
    {
      sizes: [4, 8, 16],
      inputs: [
        { tensor: 0, dimension: 1 },
        { tensor: 1, dimension: 1 },
      ],
    },
  ],
  optionalInputs: [0],
});

function tensor(name: string, shape: readonly number[]): Tensor {
  return { name, datatype: "INT8", shape, data: Buffer.alloc(shape.reduce((product, size) => product * size, 1)) };
}

const request = (rows: number, length: number, masked = length): Tensor[] => [
  tensor("mask", [rows, masked]),
  tensor("tokens", [rows, length]),
  tensor("side", [rows, 2]),
];

function bucketOf(set: InputSet | Refusal): string {
  return set instanceof Refusal ? `${set.code}: ${set.message}` : `${set.bucket} costs ${set.cost}`;
}

test.each<[number, string]>([
  [1, "4,|4,|2"],
  [4, "4,|4,|2"],
  [5, "8,|8,|2"],
  [16, "16,|16,|2"],
])("%i tokens run in the next larger bucket, with or without a mask", (length, bucket) => {
  const expected = `${bucket.replaceAll(",|", "|")} costs 3`;
  expect(bucketOf(assembleInputs(MODEL, request(3, length)))).toBe(expected);
  expect(bucketOf(assembleInputs(MODEL, request(3, length).slice(1)))).toBe(expected);
});

test.each<[string, Tensor[], string]>([
  ["too many", request(1, 17), 'invalid_shape: dimension 1 of input "mask" is 17, model "masked" takes 1 to 16'],
  [
    "too many, unmasked",
    request(1, 17).slice(1),
    'invalid_shape: dimension 1 of input "tokens" is 17, model "masked" takes 1 to 16',
  ],
  ["none", request(1, 0), 'invalid_shape: dimension 1 of input "mask" is 0, model "masked" takes 1 to 16'],
  [
    "another number of",
    request(1, 3, 4),
    'invalid_shape: inputs "mask" and "tokens" must be of one length, they are 4 and 3',
  ],
])("%s tokens are refused, with the limits", (_, tensors, refusal) => {
  expect(bucketOf(assembleInputs(MODEL, tensors))).toBe(refusal);
});

test("what a request costs is its elements with padding; a row that costs more than a run is refused", () => {
  const model = { ...MODEL, maxBatchElements: 20 };
  expect(bucketOf(assembleInputs(model, request(3, 3)))).toBe("4|4|2 costs 30");
  expect(bucketOf(assembleInputs(model, request(2, 7).slice(1)))).toBe("8|8|2 costs 36");
  expect(bucketOf(assembleInputs(model, request(1, 9)))).toBe(
    'invalid_shape: a row has 34 elements, padding included; model "masked" takes at most 20 in a run',
  );
  const exact = testModel({ maxBatchElements: 6, inputs: [{ name: "x", ...ints }] });
  expect(bucketOf(assembleInputs(exact, [tensor("x", [2, 6])]))).toBe("6 costs 12");
  expect(bucketOf(assembleInputs(exact, [tensor("x", [2, 7])]))).toMatch(/^invalid_shape: a row has 7 elements/);
});

const input = (name: string, data: readonly number[], shape = [1, data.length]) => ({
  name,
  datatype: "INT8",
  shape,
  data,
});

test("every form may leave the mask out, and nothing else", () => {
  const ofOip = (...inputs: object[]) => {
    const body = Buffer.from(JSON.stringify({ inputs }));
    return bucketOf(parseOipRequest(body, MODEL, body.byteLength));
  };
  const [tokens, side, mask] = [input("tokens", [1, 2, 3]), input("side", [1, 2]), input("mask", [1, 0, 1])];
  expect(ofOip(tokens, side)).toBe("4|4|2 costs 1");
  expect(ofOip(side, mask, tokens)).toBe("4|4|2 costs 1");
  expect(ofOip(tokens)).toBe('invalid_input: missing input "side"');
  const ofPlain = (data: unknown, model = MODEL) =>
    bucketOf(parsePlainRequest(Buffer.from(JSON.stringify({ data })), model));
  expect(ofPlain({ tokens: [1, 2, 3, 4, 5], side: [1, 2] })).toBe("8|8|2 costs 1");
  expect(ofPlain({ tokens: [1, 2, 3], side: [1, 2], mask: [1, 1, 1] })).toBe("4|4|2 costs 1");
  expect(ofPlain({ side: [1, 2] })).toBe('invalid_input: missing input "tokens"');
  const ofTfs = (body: object, model = MODEL) => bucketOf(parseTfsRequest(Buffer.from(JSON.stringify(body)), model));
  expect(ofTfs({ inputs: { tokens: [[1, 2, 3]], side: [[1, 2]] } })).toBe("4|4|2 costs 1");
  expect(ofTfs({ instances: [{ tokens: [1, 2, 3, 4, 5], side: [1, 2], mask: [1, 1, 1, 1, 0] }] })).toBe(
    "8|8|2 costs 1",
  );
  expect(ofTfs({ instances: [{ tokens: [1, 2] }] })).toBe('invalid_input: missing input "side"');
  // A model that needs nothing but its tokens takes them without their name, and without JSON.
  const lone = { ...MODEL, inputs: MODEL.inputs.slice(0, 2) };
  expect(ofPlain([1, 2, 3], lone)).toBe("4|4 costs 1");
  expect(ofTfs({ instances: [[1, 2, 3]] }, lone)).toBe("4|4 costs 1");
  expect(bucketOf(parseRawRequest(Buffer.alloc(6), lone))).toBe("8|8 costs 1");
  expect(ofPlain([1, 2, 3])).toMatch(/^invalid_input: "data" must be an object/);
});
