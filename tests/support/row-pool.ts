import { type Datatype, elementCount } from "@millrace/protocol";
import { InferenceSession, Tensor, type TypedTensor } from "onnxruntime-node";
import { SeededRandom } from "./seeded-random.ts";

/** An element as JSON carries it. BOOL is boolean, BYTES is string, INT64 and UINT64 are bigint, all else is number. */
export type Element = number | bigint | boolean | string;

/** One output of a model for one row by itself. `shape` is without the batch dimension. */
export type LoneOutput = { readonly shape: readonly number[]; readonly data: readonly Element[] };

/** One row: what to send for it, and what the model answers to it alone. Lists are in the model's declared order. */
export type PoolRow = {
  readonly id: number;
  /** For each input, its elements as JSON text with commas between, without brackets. */
  readonly inputTexts: readonly string[];
  /** For each input, its shape without the batch dimension. Equal texts may share a request. */
  readonly inputShapes: readonly (readonly number[])[];
  readonly outputs: readonly LoneOutput[];
};

export type NamedType = { readonly name: string; readonly datatype: Datatype };

/** Distinct rows of one model with their lone answers, grouped by shape: rows of one group may share a request. */
export type RowPool = {
  readonly model: string;
  readonly inputs: readonly NamedType[];
  readonly outputs: readonly NamedType[];
  readonly groups: readonly (readonly PoolRow[])[];
};

/** Plain data, so that it can cross to another process. */
export type RowPoolOptions = {
  /** The name under which the model is served. */
  readonly model: string;
  /** The ONNX file. Its first dimension is the batch, everywhere. */
  readonly path: string;
  /** Rows to make, over all groups. */
  readonly rows: number;
  readonly seed: number;
  /** Sizes for open inner dimensions, one group for each; equal names get equal sizes. Default [1, 2, 3, 5, 8]. */
  readonly lengths?: readonly number[];
  /** Range of the elements of integer inputs, both ends included; default −1000 to 1000, and all 64 bits for INT64. */
  readonly integers?: readonly [min: number, max: number];
  /** An input that requests leave out, as they may leave out a mask: the model alone gets ones. */
  readonly omit?: string;
};

const LENGTHS: readonly number[] = [1, 2, 3, 5, 8];

/** How near two answers must be to count as equal: |a − b| ≤ atol + rtol · |b|. FP64 too, as it may pass through FP32. */
export const TOLERANCE = { rtol: 1e-4, atol: 1e-5 } as const;

/**
 * Makes rows from a seed and runs the model on each alone, with onnxruntime directly: nothing of Millrace takes part, so the
 * answers are a witness. All answers of a group differ by more than the tolerance, so that a swap of any two rows shows;
 * rows whose answer is like an earlier one's are made anew.
 * @throws Error where the model has too few different answers, or types that JSON does not carry.
 */
export async function buildRowPool(options: RowPoolOptions): Promise<RowPool> {
  const session = await InferenceSession.create(options.path, { intraOpNumThreads: 1 });
  try {
    const inputs = session.inputMetadata.map(toValue);
    const outputs = session.outputMetadata.map(toValue);
    const isOpen = inputs.some(({ shape }) => shape.slice(1).some((size) => typeof size === "string"));
    const lengths = isOpen ? (options.lengths ?? LENGTHS) : [0];
    const random = new SeededRandom(options.seed);
    const groups: PoolRow[][] = lengths.map(() => []);
    let tries = options.rows * 4;
    for (let id = 0; id < options.rows; tries--) {
      if (tries === 0) throw new Error(`${options.model}: its answers differ too little to tell rows apart`);
      const group = groups[id % groups.length]!;
      const row = await makeRow({
        id,
        session,
        inputs,
        outputs,
        random,
        options,
        length: lengths[id % lengths.length]!,
      });
      if (group.some((other) => isSameAnswer(row.outputs, other.outputs))) continue;
      group.push(row);
      id++;
    }
    const sent = inputs.filter(({ name }) => name !== options.omit);
    return { model: options.model, inputs: sent.map(withoutShape), outputs: outputs.map(withoutShape), groups };
  } finally {
    await session.release();
  }
}

/** Whether each element of the one answer is that of the other, to tolerance. */
export function isSameAnswer(a: readonly LoneOutput[], b: readonly LoneOutput[]): boolean {
  return a.every((output, i) => {
    const other = b[i]?.data ?? [];
    return output.data.length === other.length && output.data.every((element, at) => isNear(element, other[at]!));
  });
}

/** Numbers to tolerance; everything else exactly. `exact` decides the type. */
export function isNear(given: unknown, exact: Element): boolean {
  if (typeof exact === "number") {
    if (typeof given !== "number") return false;
    return given === exact || Math.abs(given - exact) <= TOLERANCE.atol + TOLERANCE.rtol * Math.abs(exact);
  }
  if (typeof exact === "bigint") {
    if (typeof given === "number") return Number.isSafeInteger(given) && BigInt(given) === exact;
    return given === exact;
  }
  return given === exact;
}

type Value = NamedType & { readonly shape: readonly (number | string)[] };

const DATATYPE_OF: Readonly<Record<string, Datatype>> = {
  bool: "BOOL",
  int8: "INT8",
  int16: "INT16",
  int32: "INT32",
  int64: "INT64",
  uint8: "UINT8",
  uint16: "UINT16",
  uint32: "UINT32",
  uint64: "UINT64",
  float32: "FP32",
  float64: "FP64",
  string: "BYTES",
};

function toValue(metadata: InferenceSession.ValueMetadata): Value {
  const datatype = metadata.isTensor ? DATATYPE_OF[metadata.type] : undefined;
  if (datatype === undefined || !metadata.isTensor)
    throw new Error(`${metadata.name} is not a tensor that JSON carries`);
  return { name: metadata.name, datatype, shape: metadata.shape };
}

function withoutShape({ name, datatype }: Value): NamedType {
  return { name, datatype };
}

async function makeRow(parts: {
  readonly id: number;
  readonly session: InferenceSession;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly random: SeededRandom;
  readonly options: RowPoolOptions;
  readonly length: number;
}): Promise<PoolRow> {
  const feeds: Record<string, Tensor> = {};
  const inputTexts: string[] = [];
  const inputShapes: number[][] = [];
  for (const { name, datatype, shape } of parts.inputs) {
    const inner = shape.slice(1).map((size) => (typeof size === "string" ? parts.length : size));
    const isSent = name !== parts.options.omit;
    const make = (): Element => (isSent ? makeElement(datatype, parts.random, parts.options.integers) : 1n);
    const elements = Array.from({ length: elementCount(inner) }, make);
    if (isSent) inputTexts.push(elements.map(toJson).join(","));
    if (isSent) inputShapes.push(inner);
    feeds[name] = toTensor(datatype, elements, [1, ...inner]);
  }
  const answer = await parts.session.run(feeds);
  const outputs = parts.outputs.map(({ name, datatype }) => toLoneOutput(name, datatype, answer[name]));
  return { id: parts.id, inputTexts, inputShapes, outputs };
}

const SNIPPETS = ["a", "Z", "7", " ", "ß", "Ω", "🦀", '"', "\\", "/", "\n", "\u0001", "é", "日"] as const;

/** Short in decimal, so that requests are of a usual size. */
function makeElement(datatype: Datatype, random: SeededRandom, integers?: readonly [number, number]): Element {
  switch (datatype) {
    case "BOOL":
      return random.next() < 0.5;
    case "BYTES":
      return Array.from({ length: random.integer(0, 12) }, () => random.pick(SNIPPETS)).join("");
    case "INT64":
      if (integers !== undefined) return BigInt(random.integer(...integers));
      return BigInt.asIntN(
        64,
        (BigInt(random.integer(0, 2 ** 32 - 1)) << 32n) | BigInt(random.integer(0, 2 ** 32 - 1)),
      );
    case "UINT64":
      if (integers !== undefined) return BigInt(random.integer(...integers));
      return (BigInt(random.integer(0, 2 ** 32 - 1)) << 32n) | BigInt(random.integer(0, 2 ** 32 - 1));
    case "INT16":
    case "INT32":
      return random.integer(...(integers ?? [-1000, 1000]));
    case "INT8":
      return random.integer(-128, 127);
    case "UINT8":
      return random.integer(0, 255);
    case "UINT16":
    case "UINT32":
      return random.integer(...(integers ?? [0, 1000]));
    case "FP32":
    case "FP64":
      return Math.round((random.next() * 4 - 2) * 1e4) / 1e4;
    case "FP16":
    case "BF16":
      throw new Error(`${datatype} does not travel in JSON`);
  }
}

function toJson(element: Element): string {
  return typeof element === "string" ? JSON.stringify(element) : String(element);
}

function toTensor(datatype: Datatype, elements: readonly Element[], dims: readonly number[]): Tensor {
  switch (datatype) {
    case "BOOL":
      return new Tensor("bool", elements as boolean[], dims);
    case "BYTES":
      return new Tensor("string", elements as string[], dims);
    case "INT64":
      return new Tensor("int64", BigInt64Array.from(elements as bigint[]), dims);
    case "UINT64":
      return new Tensor("uint64", BigUint64Array.from(elements as bigint[]), dims);
    default: {
      const type = Object.keys(DATATYPE_OF).find((name) => DATATYPE_OF[name] === datatype) as "float32";
      return new Tensor(type, elements as number[], dims);
    }
  }
}

function toLoneOutput(name: string, datatype: Datatype, tensor: TypedTensor<Tensor.Type> | undefined): LoneOutput {
  if (tensor === undefined) throw new Error(`onnxruntime did not answer ${name}`);
  if (tensor.dims[0] !== 1) throw new Error(`output ${name} of one row has the shape [${tensor.dims.join(", ")}]`);
  const elements = Array.from(tensor.data as ArrayLike<Element>);
  const data = datatype === "BOOL" ? elements.map(Boolean) : elements;
  if (data.some((element) => typeof element === "number" && !Number.isFinite(element))) {
    throw new Error(`output ${name} is not finite, and JSON cannot carry it`);
  }
  return { shape: tensor.dims.slice(1), data };
}
