import { encodeStrings, type Tensor } from "@millrace/protocol";
import { expect, test } from "vitest";
import { oipResponseText } from "./oip-response.ts";
import { Refusal } from "./refusal.ts";
import { testModel } from "./testing.ts";

const bytesOf = (values: { buffer: ArrayBufferLike }): Uint8Array => new Uint8Array(values.buffer);

const outputs: readonly Tensor[] = [
  { name: "floats", datatype: "FP32", shape: [1, 2], data: bytesOf(Float32Array.of(0.5, -2)) },
  { name: "longs", datatype: "UINT64", shape: [2], data: bytesOf(BigUint64Array.of(2n ** 64n - 1n, 1n)) },
  { name: "texts", datatype: "BYTES", shape: [2], data: encodeStrings(['a "quote"\n', "\u{1f600}"]) },
  { name: "flags", datatype: "BOOL", shape: [2, 1], data: Uint8Array.of(1, 0) },
  { name: "none", datatype: "INT8", shape: [0, 3], data: Uint8Array.of() },
];
const model = testModel({
  name: 'a "model"',
  version: "12",
  outputs: outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape: shape.map(() => -1) })),
});

function text(given: readonly Tensor[], asked: readonly string[] = [], id = ""): string {
  const result = oipResponseText(model, given, { id, outputs: asked });
  return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
}

test("every output in the model's order, whatever the answer's, with flat and exact data", () => {
  const expected =
    '{"model_name":"a \\"model\\"","model_version":"12","outputs":[' +
    '{"name":"floats","datatype":"FP32","shape":[1,2],"data":[0.5,-2]},' +
    '{"name":"longs","datatype":"UINT64","shape":[2],"data":[18446744073709551615,1]},' +
    '{"name":"texts","datatype":"BYTES","shape":[2],"data":["a \\"quote\\"\\n","\u{1f600}"]},' +
    '{"name":"flags","datatype":"BOOL","shape":[2,1],"data":[true,false]},' +
    '{"name":"none","datatype":"INT8","shape":[0,3],"data":[]}]}';
  expect(text(outputs)).toBe(expected);
  expect(text(outputs.toReversed())).toBe(expected);
  JSON.parse(expected);
});

test("outputs asked for come in the order asked, an id is echoed", () => {
  const { id, outputs: given } = JSON.parse(text(outputs, ["flags", "floats"], 'i"d')) as {
    id: string;
    outputs: { name: string }[];
  };
  expect(id).toBe('i"d');
  expect(given.map(({ name }) => name)).toEqual(["flags", "floats"]);
});

test("an answer that cannot be told in JSON, or is not whole, is an error", () => {
  const nan = { name: "floats", datatype: "FP32", shape: [1], data: bytesOf(Float32Array.of(Number.NaN)) } as const;
  expect(text([nan], ["floats"])).toMatch(/^output_not_json: output "floats" holds NaN/);
  expect(text([], ["floats"])).toBe('internal: the answer lacks output "floats"');
});
