import { type Datatype, FREE, type ModelDescription, type TensorSpec } from "@millrace/protocol";
import { isOptional } from "../forms/input-set.ts";
import type { Schema } from "./schemas.ts";

/** What one model's requests and answers look like, derived from its tensors. Pure. */

const integer = (minimum: number, maximum: number): Schema => ({ type: "integer", minimum, maximum });

/** The elements of each datatype in JSON. FP16 and BF16 have none: they travel as bytes. */
const ELEMENTS: Readonly<Record<Datatype, Schema | false>> = {
  BOOL: { enum: [true, false, 0, 1] },
  INT8: integer(-128, 127),
  INT16: integer(-32_768, 32_767),
  INT32: integer(-(2 ** 31), 2 ** 31 - 1),
  // Exact beyond what JSON's numbers are elsewhere.
  INT64: { type: "integer" },
  UINT8: integer(0, 255),
  UINT16: integer(0, 65_535),
  UINT32: integer(0, 2 ** 32 - 1),
  UINT64: { type: "integer", minimum: 0 },
  FP16: false,
  BF16: false,
  FP32: { type: "number", minimum: -3.4028234663852886e38, maximum: 3.4028234663852886e38 },
  FP64: { type: "number" },
  BYTES: { type: "string" },
};

/** Flat, or nested as deep as the shape. */
function elementsSchema({ datatype, shape }: TensorSpec): Schema {
  const element = ELEMENTS[datatype];
  const nested = shape.slice(1).reduceRight<Schema | false>((items, size) => arrayOf(items, size), element);
  if (shape.length < 2) return { type: "array", items: element };
  return { type: "array", anyOf: [{ items: element }, { items: nested }] };
}

function arrayOf(items: Schema | false, size: number): Schema {
  return { type: "array", items, ...(size === FREE ? {} : { minItems: size, maxItems: size }) };
}

function shapeSchema(shape: readonly number[], isBatching: boolean): Schema {
  const prefixItems = shape.map((size, at) =>
    size === FREE ? { type: "integer", minimum: isBatching && at === 0 ? 1 : 0 } : { const: size },
  );
  return {
    type: "array",
    ...(prefixItems.length > 0 && { prefixItems }),
    minItems: shape.length,
    maxItems: shape.length,
  };
}

function tensorSchema(spec: TensorSpec, isBatching: boolean): Schema {
  return {
    type: "object",
    required: ["name", "datatype", "shape", "data"],
    properties: {
      name: { const: spec.name },
      datatype: { const: spec.datatype },
      shape: shapeSchema(spec.shape, isBatching),
      data: elementsSchema(spec),
    },
  };
}

/** The request of the Open Inference Protocol: each input once, in any order. */
export function inferRequestSchema(base: Schema, model: ModelDescription): Schema {
  const { inputs, outputs, batching } = model;
  const needed = neededInputs(model);
  const properties = base["properties"] as Readonly<Record<string, Schema>>;
  const tensors = inputs.map((spec) => tensorSchema(spec, batching));
  const output = {
    type: "object",
    required: ["name"],
    properties: { name: { enum: outputs.map(({ name }) => name) } },
  };
  return {
    ...base,
    properties: {
      ...properties,
      inputs: {
        type: "array",
        ...(tensors.length > 0 && { items: tensors.length === 1 ? tensors[0] : { oneOf: tensors } }),
        minItems: needed.length,
        maxItems: inputs.length,
      },
      outputs: { anyOf: [{ type: "array", items: output }, { type: "null" }] },
    },
    example: exampleRequest(needed),
  };
}

/** The answer: those outputs that were asked for, or all. Tensors as bytes make it no JSON; classes of an output are texts. */
export function inferAnswerSchema({ name, outputs }: ModelDescription): Schema {
  return {
    type: "object",
    required: ["model_name", "model_version", "outputs"],
    properties: {
      id: { type: "string" },
      model_name: { const: name },
      model_version: { type: "string" },
      outputs: {
        type: "array",
        maxItems: outputs.length,
        items: {
          type: "object",
          required: ["name", "datatype", "shape"],
          properties: {
            name: { enum: outputs.map((spec) => spec.name) },
            datatype: { enum: [...new Set([...outputs.map((spec) => spec.datatype), "BYTES"])] },
            shape: { type: "array", items: { type: "integer", minimum: 0 } },
            data: { type: "array" },
          },
        },
      },
    },
  };
}

/** The plain form's request; what its nesting may be is for words, not for a schema. */
export function predictRequestSchema(base: Schema, model: ModelDescription): Schema {
  const inputs = neededInputs(model);
  const [only] = inputs;
  const rows = inputs.map((spec) => [spec.name, exampleRow(spec)] as const);
  const data = inputs.length === 1 && only !== undefined ? exampleRow(only) : Object.fromEntries(rows);
  return { ...base, example: { data } };
}

/** Without those that a request may leave out: a mask of zeros would hide the whole example. */
function neededInputs(model: ModelDescription): readonly TensorSpec[] {
  return model.inputs.filter((_, position) => !isOptional(model, position));
}

/** A request of one row of zeros, or empty texts; open dimensions are 1. */
function exampleRequest(inputs: readonly TensorSpec[]): object {
  return {
    inputs: inputs.map((spec) => {
      const shape = spec.shape.map((size) => (size === FREE ? 1 : size));
      return { name: spec.name, datatype: spec.datatype, shape, data: exampleData(spec, shape) };
    }),
  };
}

/** Elements that an example shows at most: more would only fill the page. */
const EXAMPLE_ELEMENTS_MAX = 4_096;

function exampleData({ datatype }: TensorSpec, shape: readonly number[]): unknown[] {
  const count = shape.reduce((product, size) => product * size, 1);
  const zero = datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0;
  return Array.from({ length: Math.min(count, EXAMPLE_ELEMENTS_MAX) }, () => zero);
}

/** One row, flat. */
function exampleRow(spec: TensorSpec): unknown {
  const shape = spec.shape.map((size) => (size === FREE ? 1 : size));
  return exampleData(spec, shape);
}
