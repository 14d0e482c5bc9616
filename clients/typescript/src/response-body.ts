import { invalidAnswer } from "./inference-error.ts";
import { ARRAYS, type Datatype, elementCount, isDatatype, type Tensor } from "./tensor.ts";

/** An infer answer. Tensors that came as bytes are views of it where they are aligned, and copies where not. */
export type ResponseBody = {
  readonly modelName: string;
  readonly modelVersion: string | undefined;
  readonly id: string | undefined;
  readonly outputs: Readonly<Record<string, Tensor>>;
};

type JsonOutput = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data?: unknown;
  readonly parameters?: { readonly binary_data_size?: number };
};

/**
 * Reads an infer answer; `jsonBytes` is what its Inference-Header-Content-Length says, undefined without it.
 *
 * @throws {InferenceError} `invalid_answer`, whatever the bytes are.
 */
export function decodeResponse(body: ArrayBuffer, jsonBytes: number | undefined): ResponseBody {
  const end = jsonBytes ?? body.byteLength;
  if (!Number.isSafeInteger(end) || end < 0 || end > body.byteLength)
    throw invalidAnswer(`a JSON part of ${end} bytes`);
  const text = new TextDecoder().decode(new Uint8Array(body, 0, end));
  let answer = parse(text);
  let listed = outputsOf(answer);
  if (listed.some(({ datatype, data }) => (datatype === "INT64" || datatype === "UINT64") && data !== undefined)) {
    answer = parse(withExactIntegers(text));
    listed = outputsOf(answer);
  }
  const outputs: Record<string, Tensor> = Object.create(null) as Record<string, Tensor>;
  let at = end;
  for (const output of listed) {
    const size = output.parameters?.binary_data_size;
    if (size === undefined) {
      outputs[output.name] = fromJson(output);
      continue;
    }
    if (!Number.isSafeInteger(size) || size < 0 || at + size > body.byteLength) {
      throw invalidAnswer(`output "${output.name}" is said to have ${size} bytes, and the answer ends before`);
    }
    outputs[output.name] = fromBytes(output, body, { at, size });
    at += size;
  }
  if (at !== body.byteLength) throw invalidAnswer(`${body.byteLength - at} bytes after the last output`);
  const { model_name: modelName, model_version: modelVersion, id } = answer;
  return {
    modelName: typeof modelName === "string" ? modelName : "",
    modelVersion: typeof modelVersion === "string" ? modelVersion : undefined,
    id: typeof id === "string" ? id : undefined,
    outputs,
  };
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw invalidAnswer("the answer is not a JSON object");
}

/**
 * Every integer of 16 digits and more as a text, since a number of JavaScript would not be exact. (JSON.parse tells the source of a
 * number in newer engines only.)
 */
function withExactIntegers(text: string): string {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
}

function outputsOf(answer: Readonly<Record<string, unknown>>): readonly JsonOutput[] {
  const { outputs } = answer;
  if (!Array.isArray(outputs)) throw invalidAnswer("the answer has no outputs");
  for (const output of outputs as readonly Partial<JsonOutput>[]) {
    const { name, datatype, shape } = output ?? {};
    const isShape = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (typeof name !== "string" || !isDatatype(datatype) || !isShape) {
      throw invalidAnswer(`an output is ${JSON.stringify({ name, datatype, shape })}`);
    }
  }
  return outputs as readonly JsonOutput[];
}

function fromBytes(
  output: JsonOutput,
  body: ArrayBuffer,
  place: { readonly at: number; readonly size: number },
): Tensor {
  const { name, datatype, shape } = output;
  const { at, size } = place;
  const count = elementCount(shape);
  const misfit = (): Error =>
    invalidAnswer(`output "${name}": ${size} bytes are not [${shape.join(",")}] of ${datatype}`);
  if (datatype === "BYTES") {
    const view = new DataView(body, at, size);
    const data: Uint8Array[] = [];
    let end = 0;
    while (end < size && data.length < count) {
      const length = end + 4 <= size ? view.getUint32(end, true) : size;
      if (end + 4 + length > size) throw misfit();
      data.push(new Uint8Array(body, at + end + 4, length));
      end += 4 + length;
    }
    if (data.length !== count || end !== size) throw misfit();
    return { datatype, shape, data };
  }
  const ArrayType = ARRAYS[datatype];
  if (count * ArrayType.BYTES_PER_ELEMENT !== size) throw misfit();
  const aligned = at % ArrayType.BYTES_PER_ELEMENT === 0;
  const data = aligned ? new ArrayType(body, at, count) : new ArrayType(body.slice(at, at + size));
  return { datatype, shape, data } as Tensor;
}

function fromJson({ name, datatype, shape, data }: JsonOutput): Tensor {
  const items = Array.isArray(data) ? (data.flat(Infinity) as unknown[]) : [];
  if (!Array.isArray(data) || items.length !== elementCount(shape)) {
    throw invalidAnswer(`output "${name}": its data does not fill [${shape.join(",")}]`);
  }
  try {
    if (datatype === "BYTES") {
      const encoder = new TextEncoder();
      return { datatype, shape, data: items.map((item) => encoder.encode(item as string)) };
    }
    if (datatype === "INT64" || datatype === "UINT64") {
      const values = items.map((item) => BigInt(item as number | string));
      return { datatype, shape, data: ARRAYS[datatype].from(values) } as Tensor;
    }
    return { datatype, shape, data: ARRAYS[datatype].from(items.map(Number)) } as Tensor;
  } catch (cause) {
    throw invalidAnswer(`output "${name}": ${String(cause)}`);
  }
}
