import { DATATYPES, type Datatype, elementCount, encodeStrings, type ModelDescription } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readJsonBytes } from "./forms/binary-body.ts";
import { parseOipRequest } from "./forms/oip-request.ts";
import { Refusal } from "./http/refusal.ts";
import { testModel } from "./testing.ts";

const model = testModel({
  name: "two",
  inputs: [
    { name: "a", datatype: "FP32", shape: [-1, 2] },
    { name: "b", datatype: "INT64", shape: [-1] },
  ],
});

const a = { name: "a", datatype: "FP32", shape: [2, 2], parameters: { binary_data_size: 16 } };
const b = { name: "b", datatype: "INT64", shape: [2], parameters: { binary_data_size: 16 } };
const aData = Buffer.from(Float32Array.of(1, 2, 3, Number.NaN).buffer);
const bData = Buffer.from(BigInt64Array.of(2n ** 62n + 1n, -1n).buffer);

/** A body of JSON and blobs, at an odd address; and how long its JSON is. */
function bodyOf(json: object, ...blobs: readonly Uint8Array[]): { body: Buffer; jsonBytes: number } {
  const text = Buffer.from(JSON.stringify(json));
  const body = Buffer.concat([Buffer.alloc(1), text, ...blobs]).subarray(1);
  return { body, jsonBytes: text.byteLength };
}

function parse({ body, jsonBytes }: { body: Buffer; jsonBytes: number }, of: ModelDescription = model) {
  const result = parseOipRequest(body, of, jsonBytes);
  return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
}

test("blobs come in the order of the request's inputs, and are views of the body where that is the model's", () => {
  const whole = bodyOf({ inputs: [a, b] }, aData, bData);
  const result = parse(whole);
  if (typeof result === "string") throw new Error(result);
  expect(Buffer.from(result.payload)).toEqual(Buffer.concat([aData, bData]));
  expect(result.payload.buffer).toBe(whole.body.buffer);
  expect(result.inputs.map(({ data }) => Buffer.from(data))).toEqual([aData, bData]);

  const swapped = parse(bodyOf({ inputs: [b, a] }, bData, aData));
  if (typeof swapped === "string") throw new Error(swapped);
  expect(Buffer.from(swapped.payload)).toEqual(Buffer.concat([aData, bData]));
  expect(swapped.inputs.map(({ name, data }) => [name, Buffer.from(data)])).toEqual([
    ["a", aData],
    ["b", bData],
  ]);
});

test("inputs as JSON and as bytes in one request, exact integers among them", () => {
  const json = `{"inputs":[${JSON.stringify(a)},{"name":"b","datatype":"INT64","shape":[2],"data":[4611686018427387905,-1]}]}`;
  const result = parse({ body: Buffer.concat([Buffer.from(json), aData]), jsonBytes: json.length });
  if (typeof result === "string") throw new Error(result);
  expect(Buffer.from(result.payload)).toEqual(Buffer.concat([aData, bData]));
});

test("a body that is all JSON may say so", () => {
  const inputs = [
    { name: "a", datatype: "FP32", shape: [1, 2], data: [1, 2] },
    { name: "b", datatype: "INT64", shape: [1], data: [3] },
  ];
  expect(parse(bodyOf({ inputs }))).toMatchObject({ rows: 1 });
});

test.each<[string, () => { body: Buffer; jsonBytes: number }]>([
  [
    "invalid_request: header Inference-Header-Content-Length says 1000, the body has 7 bytes",
    () => ({ body: Buffer.from("{}     "), jsonBytes: 1000 }),
  ],
  [
    'invalid_request: input "b": "binary_data_size" is 16, the body has 15 bytes left',
    () => bodyOf({ inputs: [a, b] }, aData, bData.subarray(1)),
  ],
  [
    "invalid_request: the body has 1 bytes behind the data of its inputs",
    () => bodyOf({ inputs: [a, b] }, aData, bData, Buffer.alloc(1)),
  ],
  [
    'invalid_shape: input "a": FP32 of shape [2,2] needs 16 bytes, "binary_data_size" is 12',
    () => bodyOf({ inputs: [{ ...a, parameters: { binary_data_size: 12 } }, b] }, aData, bData),
  ],
  [
    'invalid_request: input "a": "binary_data_size" is 9007199254740991, the body has 32 bytes left',
    () => bodyOf({ inputs: [{ ...a, parameters: { binary_data_size: 2 ** 53 - 1 } }, b] }, aData, bData),
  ],
  ["invalid_json: the body is not UTF-8", () => ({ body: Buffer.of(0x7b, 0xff, 0x7d, 0), jsonBytes: 3 })],
])("%s", (expected, body) => {
  expect(parse(body())).toBe(expected);
});

/** Some value of each type, as bytes. */
const SAMPLES: Readonly<Record<Datatype, Uint8Array>> = {
  BOOL: Uint8Array.of(1, 0),
  INT8: Uint8Array.of(1, 255),
  INT16: Uint8Array.of(1, 2, 3, 4),
  INT32: new Uint8Array(8).fill(7),
  INT64: new Uint8Array(16).fill(255),
  UINT8: Uint8Array.of(1, 255),
  UINT16: Uint8Array.of(1, 2, 3, 4),
  UINT32: new Uint8Array(8).fill(255),
  UINT64: new Uint8Array(16).fill(255),
  FP16: Uint8Array.of(0, 0x3c, 0, 0xc0),
  BF16: Uint8Array.of(0x80, 0x3f, 0, 0xc0),
  FP32: new Uint8Array(Float32Array.of(Number.NaN, Infinity).buffer),
  FP64: new Uint8Array(Float64Array.of(-0, Number.NaN).buffer),
  BYTES: Buffer.concat([Buffer.of(3, 0, 0, 0, 0, 0xff, 0), Buffer.of(0, 0, 0, 0)]),
};

test("every datatype travels as it is, NaN, NUL and what is no text included; cut short it is refused", () => {
  for (const datatype of Object.keys(DATATYPES) as Datatype[]) {
    const of = testModel({ inputs: [{ name: "x", datatype, shape: [-1, 2] }] });
    const data = SAMPLES[datatype];
    const input = { name: "x", datatype, shape: [1, 2], parameters: { binary_data_size: data.byteLength } };
    const result = parse(bodyOf({ inputs: [input] }, data), of);
    if (typeof result === "string") throw new Error(`${datatype}: ${result}`);
    expect([datatype, Buffer.from(result.payload)]).toEqual([datatype, Buffer.from(data)]);
    const short = { ...input, parameters: { binary_data_size: data.byteLength - 1 } };
    expect(parse(bodyOf({ inputs: [short] }, data.subarray(1)), of)).toMatch(/^invalid_shape: input "x"/);
    if (DATATYPES[datatype].json) continue;
    expect(parse(bodyOf({ inputs: [{ ...input, parameters: {}, data: [1, 2] }] }), of)).toBe(
      `invalid_datatype: input "x": ${datatype} can be sent in binary form only`,
    );
  }
});

test("without JSON the body is one row of the only input, and outputs are bytes", () => {
  const raw = (body: Buffer, of: ModelDescription) => parse({ body, jsonBytes: 0 }, of);
  const body = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);
  const result = raw(body, testModel());
  if (typeof result === "string") throw new Error(result);
  expect(result).toMatchObject({ rows: 1, choice: { names: [], rest: { isBinary: true } } });
  expect(result.payload).toBe(body);
  const open = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1, 2] }] });
  expect(raw(body, open)).toMatchObject({ bucket: "2,2", inputs: [{ shape: [1, 2, 2] }] });
  expect(raw(body.subarray(4), open)).toBe('invalid_shape: input "x": 12 bytes are no row of FP32 [-1,-1,2]');
  expect(raw(Buffer.alloc(0), open)).toMatchObject({ inputs: [{ shape: [1, 0, 2] }] });
  const none = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1, 0] }] });
  expect(raw(Buffer.alloc(0), none)).toMatchObject({ inputs: [{ shape: [1, 0, 0] }] });
  expect(raw(body, none)).toMatch(/^invalid_shape/);
  const wide = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1, -1] }] });
  expect(raw(body, wide)).toMatch(/^invalid_shape: .* does not follow from the body's length; send JSON$/);
  expect(raw(body, model)).toMatch(/^invalid_input: .* model "two" has 2$/);
  const texts = testModel({ inputs: [{ name: "x", datatype: "BYTES", shape: [-1, 1] }] });
  const text = raw(Buffer.from("a\0b"), texts);
  if (typeof text === "string") throw new Error(text);
  expect(Buffer.from(text.payload)).toEqual(Buffer.from(encodeStrings(["a\0b"])));
  expect(raw(Buffer.from("a"), testModel({ inputs: [{ name: "x", datatype: "BYTES", shape: [-1, 2] }] }))).toMatch(
    /^invalid_shape/,
  );
});

test("the header is a number of bytes, or refused", () => {
  expect([readJsonBytes(undefined), readJsonBytes("0"), readJsonBytes("0012")]).toEqual([-1, 0, 12]);
  for (const text of ["", "-1", "+1", "1.5", "1e3", "0x10", " 1", "12, 12", "9".repeat(400)]) {
    expect(readJsonBytes(text)).toMatchObject({ code: "invalid_request" });
  }
});

test("any header length, blob sizes and datatypes: a request that fits its shapes exactly, or a refusal; never a throw", () => {
  const datatype = fc.constantFrom(...(Object.keys(DATATYPES) as Datatype[]));
  const arbitrary = fc.record({
    datatype,
    rows: fc.integer({ min: 1, max: 3 }),
    blob: fc.uint8Array({ maxLength: 40 }),
    size: fc.option(fc.integer({ min: -1, max: 40 })),
    off: fc.integer({ min: -2, max: 2 }),
  });
  let served = 0;
  fc.assert(
    fc.property(arbitrary, ({ datatype, rows, blob, size, off }) => {
      const of = testModel({ inputs: [{ name: "x", datatype, shape: [-1, 2] }] });
      const parameters = { binary_data_size: size ?? blob.byteLength };
      const { body, jsonBytes } = bodyOf({ inputs: [{ name: "x", datatype, shape: [rows, 2], parameters }] }, blob);
      const result = parseOipRequest(body, of, jsonBytes + off);
      if (result instanceof Refusal) return result.message !== "";
      served++;
      // JSON may end in white space: a header that is too long may have taken it from the blob.
      const data = blob.subarray(off);
      expect(Buffer.from(blob.subarray(0, off)).toString().trim()).toBe("");
      expect([off >= 0, parameters.binary_data_size]).toEqual([true, data.byteLength]);
      expect(Buffer.from(result.payload)).toEqual(Buffer.from(data));
      const bytes = elementCount([rows, 2]) * DATATYPES[datatype].bytes;
      return bytes === 0 || data.byteLength === bytes;
    }),
    { numRuns: 3000 },
  );
  expect(served).toBeGreaterThan(0);
});
