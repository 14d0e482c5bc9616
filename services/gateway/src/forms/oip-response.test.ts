import { encodeStrings, type Tensor } from "@millrace/protocol";
import { expect, test } from "vitest";
import { JSON_FORM, type OutputForm } from "./oip-outputs.ts";
import { oipResponse } from "./oip-response.ts";
import { Refusal } from "../http/refusal.ts";
import { testModel } from "../testing.ts";

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
  const choice = { names: asked, forms: asked.map(() => JSON_FORM), rest: JSON_FORM };
  const result = oipResponse(model, given, { id, choice });
  if (result instanceof Refusal) return `${result.code}: ${result.message}`;
  return typeof result === "string" ? result : "binary";
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

/** The JSON and the bytes of an answer in which every output has a form. */
function binary(forms: Readonly<Record<string, OutputForm>>) {
  const choice = { names: Object.keys(forms), forms: Object.values(forms), rest: JSON_FORM };
  const result = oipResponse(model, outputs, { id: "1", choice });
  if (typeof result === "string" || result instanceof Refusal) return result;
  const [json, ...blobs] = result.parts;
  expect(json?.byteLength).toBe(result.jsonBytes);
  return { json: Buffer.from(json!).toString(), blobs };
}

const BYTES = { isBinary: true, classes: 0 };

test("outputs in binary form: their own bytes behind JSON that ends at a multiple of eight", () => {
  const result = binary({ longs: BYTES, floats: JSON_FORM, texts: BYTES, none: BYTES });
  if (typeof result === "string" || result instanceof Refusal) throw new Error("not binary");
  expect(result.json).toMatch(/^\S.*\} {0,7}$/);
  expect(result.json.length % 8).toBe(0);
  expect((JSON.parse(result.json) as { outputs: unknown }).outputs).toEqual([
    { name: "longs", datatype: "UINT64", shape: [2], parameters: { binary_data_size: 16 } },
    { name: "floats", datatype: "FP32", shape: [1, 2], data: [0.5, -2] },
    { name: "texts", datatype: "BYTES", shape: [2], parameters: { binary_data_size: 22 } },
    { name: "none", datatype: "INT8", shape: [0, 3], parameters: { binary_data_size: 0 } },
  ]);
  expect(result.blobs).toHaveLength(2);
  expect(result.blobs[0]).toBe(outputs[1]?.data);
  expect(result.blobs[1]).toBe(outputs[2]?.data);
});

test("the JSON of a binary answer is padded by bytes, not by characters", () => {
  for (let length = 0; length < 8; length++) {
    const choice = { names: ["floats"], forms: [BYTES], rest: JSON_FORM };
    const result = oipResponse(model, outputs, { id: `ä\u{1f600}${"x".repeat(length)}`, choice });
    if (typeof result === "string" || result instanceof Refusal) throw new Error("not binary");
    expect([result.jsonBytes % 8, result.parts[0]?.byteLength]).toEqual([0, result.jsonBytes]);
  }
});

test("outputs without bytes are told in JSON alone, however they are asked for", () => {
  expect(binary({ none: BYTES })).toBe(
    '{"id":"1","model_name":"a \\"model\\"","model_version":"12","outputs":[{"name":"none","datatype":"INT8","shape":[0,3],"parameters":{"binary_data_size":0}}]}',
  );
});

test("classes come as texts, in either form", () => {
  const asJson = binary({ floats: { isBinary: false, classes: 1 } });
  expect(asJson).toContain('"datatype":"BYTES","shape":[1,1],"data":["0.500000:0"]');
  const asBytes = binary({ flags: { isBinary: true, classes: 5 } });
  if (typeof asBytes === "string" || asBytes instanceof Refusal) throw new Error("not binary");
  expect(asBytes.json).toContain('"datatype":"BYTES","shape":[2,1],"parameters":{"binary_data_size":14}');
  expect(asBytes.blobs).toEqual([encodeStrings(["1:0", "0:0"])]);
});
