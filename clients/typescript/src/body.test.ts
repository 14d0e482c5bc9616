import fc from "fast-check";
import { expect, test } from "vitest";
import { InferenceError } from "./inference-error.ts";
import { encodeRequest } from "./request-body.ts";
import { decodeResponse } from "./response-body.ts";
import type { Tensor } from "./tensor.ts";

/** What a request says, turned into the answer that gives it back. */
function answered(inputs: Readonly<Record<string, Tensor>>, form: "binary" | "json") {
  const { bytes, jsonBytes } = encodeRequest(inputs, {}, form);
  const end = jsonBytes ?? bytes.byteLength;
  const json = new TextDecoder().decode(bytes.subarray(0, end)).replace(`"inputs"`, `"outputs"`);
  const head = new TextEncoder().encode(json);
  const body = new Uint8Array([...head, ...bytes.subarray(end)]);
  return { body: body.buffer, jsonBytes: jsonBytes === undefined ? undefined : head.byteLength };
}

const INPUTS: Readonly<Record<string, Tensor>> = {
  odd: { datatype: "INT8", shape: [3], data: Int8Array.of(-128, 0, 127) },
  wide: { datatype: "INT64", shape: [1, 3], data: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n, 2n ** 63n - 1n) },
  text: { datatype: "BYTES", shape: [2], data: ["größer 🦀", new Uint8Array([0x22, 0x5c])] },
  real: { datatype: "FP64", shape: [4], data: Float64Array.of(1.2345678901234567, -0, 2 ** 60, 5e-324) },
  none: { datatype: "FP32", shape: [0, 2], data: new Float32Array(0) },
  flag: { datatype: "BOOL", shape: [2], data: Uint8Array.of(1, 0) },
};

test.each(["binary", "json"] as const)("every element survives as %s, aligned or not", (form) => {
  const { body, jsonBytes } = answered(INPUTS, form);
  const { outputs } = decodeResponse(body, jsonBytes);
  for (const [name, { datatype, shape, data }] of Object.entries(INPUTS)) {
    expect(outputs[name]?.datatype).toBe(datatype);
    expect(outputs[name]?.shape).toEqual(shape);
    if (name !== "text") expect(outputs[name]?.data).toEqual(data);
  }
  expect(outputs["text"]?.data).toEqual([new TextEncoder().encode("größer 🦀"), new Uint8Array([0x22, 0x5c])]);
});

test("tensors begin at a multiple of eight, and an aligned output is a view of the answer", () => {
  const inputs = { x: INPUTS["real"]! };
  const { jsonBytes } = encodeRequest(inputs, {}, "binary");
  expect(jsonBytes! % 8).toBe(0);
  const { body } = answered(inputs, "binary");
  // "outputs" is a byte longer than "inputs".
  expect((decodeResponse(body, jsonBytes! + 1).outputs["x"]!.data as Float64Array).buffer).not.toBe(body);
  const padded = new Uint8Array([...new Uint8Array(7).fill(0x20), ...new Uint8Array(body)]).buffer;
  expect((decodeResponse(padded, jsonBytes! + 8).outputs["x"]!.data as Float64Array).buffer).toBe(padded);
});

test.each<[string, Tensor, "binary" | "json", RegExp]>([
  [
    "too few elements",
    { datatype: "FP32", shape: [2], data: new Float32Array(1) },
    "binary",
    /"x": 1 elements do not fill/,
  ],
  ["a negative size", { datatype: "FP32", shape: [-1], data: new Float32Array(0) }, "binary", /do not fill/],
  ["another array", { datatype: "FP32", shape: [1], data: [1] } as never, "binary", /FP32 is given as Float32Array/],
  ["an unknown datatype", { datatype: "FP8", shape: [1], data: [1] } as never, "binary", /no datatype FP8/],
  ["NaN in JSON", { datatype: "FP32", shape: [1], data: Float32Array.of(Number.NaN) }, "json", /NaN cannot go as JSON/],
  ["FP16 in JSON", { datatype: "FP16", shape: [1], data: Uint16Array.of(0) }, "json", /FP16 cannot go as JSON/],
  ["bytes in JSON", { datatype: "BYTES", shape: [1], data: [new Uint8Array([0xff])] }, "json", /not UTF-8/],
])("%s is refused before anything is sent", (...[, tensor, form, message]) => {
  expect(() => encodeRequest({ x: tensor }, {}, form)).toThrow(message);
});

test("whatever is broken in an answer is an invalid_answer", () => {
  const { body, jsonBytes } = answered(INPUTS, "binary");
  const whole = new Uint8Array(body);
  const damage = fc.record({
    at: fc.nat(whole.length - 1),
    value: fc.nat(255),
    cut: fc.nat(40),
    shift: fc.integer({ min: -3, max: 3 }),
  });
  fc.assert(
    fc.property(damage, ({ at, value, cut, shift }) => {
      const bytes = whole.slice(0, whole.length - cut);
      bytes[at] = value;
      try {
        decodeResponse(bytes.buffer, jsonBytes! + shift);
      } catch (error) {
        if (!(error instanceof InferenceError)) throw error;
        expect(error.code).toBe("invalid_answer");
      }
    }),
    { numRuns: 2_000 },
  );
  expect(() => decodeResponse(whole.slice(0, -1).buffer, jsonBytes)).toThrow(/ends before/);
  expect(() => decodeResponse(new Uint8Array([...whole, 0]).buffer, jsonBytes)).toThrow(/1 bytes after/);
});

test("an answer of BYTES has as many elements as its shape, and nothing else", () => {
  const blob = [1, 0, 0, 0, 65, 1, 0, 0, 0, 66];
  const read = (count: number, bytes: readonly number[]): unknown => {
    const output = `{"name":"y","datatype":"BYTES","shape":[${count}],"parameters":{"binary_data_size":${bytes.length}}}`;
    const json = new TextEncoder().encode(`{"outputs":[${output}]}`);
    return decodeResponse(new Uint8Array([...json, ...bytes]).buffer, json.byteLength).outputs["y"]?.data;
  };
  expect(read(2, blob)).toEqual([Uint8Array.of(65), Uint8Array.of(66)]);
  for (const [count, bytes] of [
    [1, blob],
    [3, blob],
    [2, blob.slice(0, -1)],
    [2, [...blob, 0]],
    [2, blob.with(5, 9)],
  ] as const) {
    expect(() => read(count, bytes)).toThrow(/output "y": \d+ bytes are not/);
  }
});
