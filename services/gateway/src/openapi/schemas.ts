import { DATATYPES, ERROR_CODES } from "@millrace/protocol";
import { z } from "zod";

/** The shapes of bodies that are the same for all models, as they stand in the OpenAPI document's components. */

const datatypes = Object.keys(DATATYPES) as [string, ...string[]];
const text = z.string();
const size = z.int().min(0);
const shape = z.array(size);

const datatype = z
  .enum(datatypes)
  .meta({ description: "Element type, by the name that the Open Inference Protocol has for it." });

/** Whatever JSON has; what it must be follows from the model. */
const elements = z.array(z.unknown()).meta({
  description: "The elements in row-major order, flat or nested as the shape says.",
});

const requestedInput = z.looseObject({ name: text, datatype, shape, data: elements });

const parameters = z.looseObject({
  timeout: z
    .union([z.int().min(0), z.null()])
    .optional()
    .meta({ description: "The time budget, in microseconds." }),
});

const requestedOutput = z.looseObject({ name: text, parameters: z.union([z.looseObject({}), z.null()]).optional() });

/** What every inference request has beside its inputs. */
export const INFER_REQUEST = z.looseObject({
  id: z.union([text, z.null()]).optional().meta({ description: "Comes back with the answer." }),
  parameters: z.union([parameters, z.null()]).optional(),
  inputs: z.array(requestedInput),
  outputs: z
    .union([z.array(requestedOutput), z.null()])
    .optional()
    .meta({ description: "Those wanted; all, where it is not given." }),
});

const tensor = z.looseObject({ name: text, datatype, shape, data: z.array(z.unknown()).optional() });

const tensorMetadata = z.strictObject({
  name: text,
  datatype,
  shape: z.array(z.int().min(-1)).meta({ description: "-1: any size." }),
});

const duration = z.strictObject({ count: size, ns: size });

export const COMPONENTS = {
  Error: z
    .strictObject({
      error: text.meta({ description: "What is wrong, for people." }),
      code: z.enum(Object.keys(ERROR_CODES) as [string, ...string[]]).meta({ description: "See docs/errors.md." }),
    })
    .meta({ description: "Every error of every route." }),
  Live: z.strictObject({ live: z.literal(true) }),
  Ready: z.strictObject({ ready: z.boolean(), reason: text.optional() }),
  ModelReady: z.strictObject({ name: text, ready: z.boolean() }),
  ServerMetadata: z.strictObject({ name: text, version: text, extensions: z.array(text) }),
  ModelMetadata: z.strictObject({
    name: text,
    versions: z.array(text),
    platform: text,
    inputs: z.array(tensorMetadata),
    outputs: z.array(tensorMetadata),
  }),
  ModelConfig: z
    .looseObject({
      name: text,
      platform: text,
      max_batch_size: size,
      input: z.array(z.looseObject({})),
      output: z.array(z.looseObject({})),
    })
    .meta({ description: "As Triton's clients read it." }),
  Statistics: z.strictObject({
    model_stats: z.array(
      z.looseObject({
        name: text,
        version: text,
        last_inference: size,
        inference_count: size,
        execution_count: size,
        inference_stats: z.record(text, duration),
      }),
    ),
  }),
  InferRequest: INFER_REQUEST,
  InferAnswer: z.looseObject({ id: text.optional(), model_name: text, model_version: text, outputs: z.array(tensor) }),
  PredictRequest: z.looseObject({
    data: z
      .unknown()
      .meta({ description: "One row, or rows, of the model's input; an object of them by name where it has several." }),
    request_id: z.union([text, z.null()]).optional(),
  }),
  PredictAnswer: z.strictObject({
    request_id: text,
    result: z.unknown(),
    latency_ms: z.number().min(0),
    batch_size: size,
  }),
  TfsRequest: z
    .looseObject({
      signature_name: z.enum(["serving_default", ""]).optional(),
      instances: z.array(z.unknown()).min(1).optional().meta({ description: "Rows." }),
      inputs: z.unknown().optional().meta({ description: "Columns." }),
    })
    .meta({ description: 'Either `instances` or `inputs`; bytes as `{"b64": …}`.' }),
  TfsAnswer: z
    .looseObject({ predictions: z.array(z.unknown()).optional(), outputs: z.unknown().optional() })
    .meta({ description: "`predictions` for `instances`, `outputs` for `inputs`." }),
  TfsStatus: z.looseObject({
    model_version_status: z.array(z.looseObject({ version: text, state: z.enum(["LOADING", "AVAILABLE", "END"]) })),
  }),
  IndexRequest: z.looseObject({ ready: z.union([z.boolean(), z.null()]).optional() }),
  Index: z.array(
    z.strictObject({ name: text, version: text, state: z.enum(["READY", "LOADING", "UNAVAILABLE"]), reason: text }),
  ),
} as const;

/** The name of a component. */
export type Component = keyof typeof COMPONENTS;

/** A JSON Schema, or a part of one. */
export type Schema = Readonly<Record<string, unknown>>;

/** The components as JSON Schema 2020-12, which is what OpenAPI 3.1 holds. */
export function componentSchemas(): Readonly<Record<string, Schema>> {
  return Object.fromEntries(
    Object.entries(COMPONENTS).map(([name, schema]) => {
      const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" }) as Record<string, unknown>;
      return [name, rest];
    }),
  );
}
