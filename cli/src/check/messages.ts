import {
  bytesOf,
  type CheckTensor,
  type Element,
  elementCount,
  elementsOf,
  fitsJson,
  isKnownDatatype,
  jsonElement,
} from "./tensors.ts";

/** What a check has found wrong; its message is for the report. */
export class CheckFault extends Error {}

/** An HTTP answer, read to its end. Names of headers are in lower case. */
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
};

/** A body and what it needs. */
export type Request = { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> };

export type InferForm = {
  /** Inputs as bytes; those that JSON cannot carry always are. */
  readonly binaryIn?: boolean;
  /** Data of inputs in JSON nested as their shape is. */
  readonly nested?: boolean;
  readonly id?: string;
  /** Outputs asked for by name, and whether as bytes; undefined: all, in JSON. */
  readonly outputs?: readonly { readonly name: string; readonly binary: boolean; readonly classification?: number }[];
};

export const LENGTH_HEADER = "inference-header-content-length";

/** An infer request. */
export function inferRequest(inputs: readonly CheckTensor[], form: InferForm = {}): Request {
  const { binaryIn = false, nested = false, id, outputs } = form;
  const blobs: Buffer[] = [];
  const texts = inputs.map((tensor) => {
    const head = `"name":${JSON.stringify(tensor.name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape.join(",")}]`;
    if (!binaryIn && fitsJson(tensor.datatype)) {
      const elements = tensor.values.map(jsonElement);
      return `{${head},"data":${nested ? nest(elements, tensor.shape) : `[${elements.join(",")}]`}}`;
    }
    const bytes = bytesOf(tensor);
    blobs.push(bytes);
    return `{${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const asked = outputs?.map(({ name, binary, classification }) => ({
    name,
    parameters: { binary_data: binary, ...(classification === undefined ? {} : { classification }) },
  }));
  const rest = JSON.stringify({
    ...(id === undefined ? {} : { id }),
    ...(asked === undefined ? {} : { outputs: asked }),
  });
  const json = Buffer.from(`{"inputs":[${texts.join(",")}]${rest === "{}" ? "}" : `,${rest.slice(1)}`}`);
  if (blobs.length === 0) return { body: json, headers: { "content-type": "application/json" } };
  const headers = { "content-type": "application/octet-stream", [LENGTH_HEADER]: String(json.length) };
  return { body: Buffer.concat([json, ...blobs]), headers };
}

function nest(elements: readonly string[], shape: readonly number[]): string {
  if (shape.length <= 1) return `[${elements.join(",")}]`;
  const step = elements.length / (shape[0] || 1);
  const rows = Array.from({ length: shape[0] ?? 0 }, (_, at) =>
    nest(elements.slice(at * step, (at + 1) * step), shape.slice(1)),
  );
  return `[${rows.join(",")}]`;
}

/** The JSON of an answer. @throws {CheckFault} where it is none. */
export function jsonOf(answer: Answer, end = answer.body.length): unknown {
  try {
    const exact = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
      typeof value === "number" && /^-?\d{16,}$/.test(context?.source ?? "") ? BigInt(context!.source!) : value;
    return JSON.parse(answer.body.toString("utf8", 0, end), exact);
  } catch {
    throw new CheckFault(`status ${answer.status}, and the body is not JSON: ${excerpt(answer.body)}`);
  }
}

/** What a body says: its error, or else its beginning. */
export function excerpt(body: Buffer): string {
  try {
    const { error } = JSON.parse(body.toString()) as { readonly error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Its beginning, then.
  }
  return JSON.stringify(body.toString("utf8", 0, 80));
}

/** The outputs of an infer answer, in its order, with whether each came as bytes. @throws {CheckFault} for what is not the protocol's. */
export function outputsOf(answer: Answer, model: string): readonly (CheckTensor & { readonly binary: boolean })[] {
  expectStatus(answer, 200);
  const length = answer.headers[LENGTH_HEADER];
  const end = length === undefined ? answer.body.length : Number(length);
  if (!(end <= answer.body.length)) throw new CheckFault(`${LENGTH_HEADER} is ${String(length)}`);
  const json = jsonOf(answer, end) as { readonly model_name?: unknown; readonly outputs?: unknown };
  if (json.model_name !== model) throw new CheckFault(`model_name is ${JSON.stringify(json.model_name)}`);
  if (!Array.isArray(json.outputs)) throw new CheckFault("there are no outputs");
  let at = end;
  const outputs = json.outputs.map((output: RawOutput) => {
    const { name, datatype, shape, data, parameters } = output;
    if (typeof name !== "string" || typeof datatype !== "string" || !isKnownDatatype(datatype)) {
      throw new CheckFault(
        `an output has the name ${JSON.stringify(name)} and the datatype ${JSON.stringify(datatype)}`,
      );
    }
    if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size >= 0)) {
      throw new CheckFault(`output "${name}" has the shape ${JSON.stringify(shape)}`);
    }
    const size = parameters?.binary_data_size;
    const binary = typeof size === "number";
    const bytes = binary ? answer.body.subarray(at, (at += size)) : Buffer.alloc(0);
    const count = elementCount(shape as number[]);
    const values = binary ? elementsOf(datatype, bytes, count) : jsonValues(data, count);
    if (values === undefined)
      throw new CheckFault(`the data of output "${name}" is not ${JSON.stringify(shape)} of ${datatype}`);
    return { name, datatype, shape: shape as number[], values, binary };
  });
  if (at !== answer.body.length) throw new CheckFault(`${answer.body.length - at} bytes after the last output`);
  return outputs;
}

type RawOutput = {
  readonly name?: unknown;
  readonly datatype?: unknown;
  readonly shape?: unknown;
  readonly data?: unknown;
  readonly parameters?: { readonly binary_data_size?: unknown };
};

function jsonValues(data: unknown, count: number): Element[] | undefined {
  if (!Array.isArray(data)) return undefined;
  const values = data.flat(Infinity) as Element[];
  return values.length === count ? values : undefined;
}

/** @throws {CheckFault} for another status, with what the answer says. */
export function expectStatus(answer: Answer, status: number): void {
  if (answer.status !== status) throw new CheckFault(`status ${answer.status}: ${excerpt(answer.body)}`);
}

/** What a refusal says. @throws {CheckFault} unless it is 4xx (or what is given) and `{"error": text}`. */
export function refusalOf(answer: Answer, status?: number): string {
  const isRight = status === undefined ? answer.status >= 400 && answer.status < 500 : answer.status === status;
  if (!isRight) throw new CheckFault(`status ${answer.status}, not ${status ?? "4xx"}: ${excerpt(answer.body)}`);
  const { error } = (jsonOf(answer) ?? {}) as { readonly error?: unknown };
  if (typeof error !== "string")
    throw new CheckFault(`status ${answer.status} without {"error": text}: ${excerpt(answer.body)}`);
  return `${answer.status} ${error}`;
}
