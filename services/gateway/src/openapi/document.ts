import { ERROR_CODES, type ErrorCode, type ModelDescription } from "@millrace/protocol";
import type { ModelEntry } from "../broker/inference.ts";
import { inferAnswerSchema, inferRequestSchema, predictRequestSchema } from "./model-schemas.ts";
import { type Operation, OPERATIONS } from "./operations.ts";
import { componentSchemas, type Schema } from "./schemas.ts";

/** Models that have operations of their own in the document: each is some 10 kB of it. */
const MODELS_MAX = 100;

const COMPONENT_SCHEMAS = componentSchemas();

/** What the document is made of. */
export type DocumentSources = {
  readonly version: string;
  /** As clients see them. */
  readonly models: readonly ModelEntry[];
  /** Whether `/metrics` is served. */
  readonly hasMetrics: boolean;
  /** Whether inference asks for an API key. */
  readonly hasKeys: boolean;
};

const SECURITY_SCHEMES = {
  apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
  bearer: { type: "http", scheme: "bearer" },
};
/** Either will do. */
const SECURITY = [{ apiKey: [] }, { bearer: [] }];

/**
 * The OpenAPI 3.1 document of a gateway: every route, and for each model that is ready the two ways to ask it, with its inputs and
 * outputs. Pure; some milliseconds where there are many models.
 * Source: https://spec.openapis.org/oas/v3.1.1.
 */
export function openApiDocument({ version, models, hasMetrics, hasKeys }: DocumentSources): object {
  const routes = Object.entries(OPERATIONS).filter(([route]) => hasMetrics || route !== "GET /metrics");
  const served = models.filter(({ model, isDefault }) => isDefault && model.state === "ready").slice(0, MODELS_MAX);
  const paths: Record<string, Record<string, object>> = {};
  for (const { model } of served) {
    const name = encodeURIComponent(model.name);
    const { infer, predict } = modelOperations(model);
    paths[`/v2/models/${name}/infer`] = { post: infer };
    paths[`/predict/${name}`] = { post: predict };
  }
  for (const [route, operation] of routes) {
    const [method = "", path = ""] = route.split(" ");
    const template = operation.template ?? path.replaceAll(/:(\w+)/g, "{$1}");
    const item = (paths[template] ??= {});
    item[method.toLowerCase()] = operationObject(operation, { template });
  }
  if (hasKeys) {
    const operations = Object.values(paths).flatMap((item) => Object.values(item));
    for (const operation of operations.filter(canRefuseKey)) Object.assign(operation, { security: SECURITY });
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Millrace",
      version,
      description:
        "Inference over HTTP: the Open Inference Protocol (V2) and a plain form. Every answer of a model has `Server-Timing`.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    tags: [
      ...served.map(({ model }) => ({ name: modelTag(model) })),
      { name: "Inference" },
      { name: "Models" },
      { name: "Server" },
    ],
    paths,
    components: { schemas: COMPONENT_SCHEMAS, ...(hasKeys && { securitySchemes: SECURITY_SCHEMES }) },
  };
}

function canRefuseKey(operation: object): boolean {
  return "401" in (operation as { readonly responses: object }).responses;
}

/** What differs from a route's own description. */
type Particulars = {
  /** With the parameters in braces. */
  readonly template: string;
  readonly tag?: string;
  readonly id?: string;
  readonly summary?: string;
  readonly request?: Schema;
  readonly answer?: Schema;
};

function modelTag({ name }: ModelDescription): string {
  return `Model ${name}`;
}

function modelOperations(model: ModelDescription): { readonly infer: object; readonly predict: object } {
  const tag = modelTag(model);
  const particulars = { template: "", tag };
  return {
    infer: operationObject(OPERATIONS["POST /v2/models/:model/infer"]!, {
      ...particulars,
      id: `infer_${model.name}`,
      summary: `Runs ${model.name}: the Open Inference Protocol`,
      request: inferRequestSchema(COMPONENT_SCHEMAS["InferRequest"]!, model),
      answer: inferAnswerSchema(model),
    }),
    predict: operationObject(OPERATIONS["POST /predict/:model"]!, {
      ...particulars,
      id: `predict_${model.name}`,
      summary: `Runs ${model.name}: the plain form`,
      request: predictRequestSchema(COMPONENT_SCHEMAS["PredictRequest"]!, model),
    }),
  };
}

function operationObject(operation: Operation, particulars: Particulars): object {
  const { body, errors } = operation;
  const { template, tag = operation.tag, id = operation.id, summary = operation.summary } = particulars;
  const parameters = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string", minLength: 1 },
  }));
  const request = body && (particulars.request ?? ref(body.component));
  return {
    operationId: id,
    tags: [tag],
    summary,
    parameters: body === undefined ? parameters : [...parameters, ...callParameters(operation)],
    ...(request && {
      requestBody: { required: body?.mayBeEmpty !== true, content: requestContent(operation, request) },
    }),
    responses: {
      200: okResponse(operation, particulars.answer),
      ...healthResponse(operation),
      ...errorResponses(errors),
    },
  };
}

const isInfer = ({ body }: Operation): boolean => body?.component === "InferRequest";

/** Headers that calls of models heed. */
function callParameters({ tag }: Operation): readonly object[] {
  if (tag !== "Inference") return [];
  const budget = { type: "integer", minimum: 1, maximum: 999_999_999_999_999 };
  return [
    { name: "x-request-timeout-ms", in: "header", schema: budget, description: "The time budget, in milliseconds." },
    {
      name: "x-request-id",
      in: "header",
      schema: { type: "string" },
      description: "Comes back with the answer, and is in the gateway's log; one that is not sane is replaced.",
    },
  ];
}

const BINARY =
  "JSON and the tensors' bytes behind it; the header `Inference-Header-Content-Length` says how much of it is JSON.";

function requestContent(operation: Operation, schema: Schema): object {
  // An example stands beside its schema.
  const { example, ...rest } = schema;
  const json = { schema: rest, ...(example !== undefined && { example }) };
  if (!isInfer(operation)) return { "application/json": json };
  return { "application/json": json, "application/octet-stream": { schema: { description: BINARY } } };
}

function okResponse(operation: Operation, schema: Schema | undefined): object {
  const { answer, tag } = operation;
  if (answer === "text" || answer === "html" || answer === "document") {
    const type = { text: "text/plain", html: "text/html", document: "application/json" }[answer];
    return {
      description: operation.summary,
      content: { [type]: { schema: answer === "document" ? { type: "object" } : {} } },
    };
  }
  const content = { "application/json": { schema: schema ?? ref(answer) } };
  const binary = { "application/octet-stream": { schema: { description: BINARY } } };
  const timing = {
    "Server-Timing": header("Where the time went, by stage, in milliseconds; the batch, and the worker."),
  };
  return {
    description: operation.summary,
    headers: { ...REQUEST_ID, ...(tag === "Inference" && timing) },
    content: isInfer(operation) ? { ...content, ...binary } : content,
  };
}

const REQUEST_ID = { "x-request-id": header("The client's, or the gateway's.") };

function healthResponse({ isHealth, answer, errors }: Operation): object {
  if (isHealth !== true) return {};
  const own = ref(answer);
  const schema = errors.some((code) => ERROR_CODES[code].http === 503) ? { anyOf: [own, ref("Error")] } : own;
  return { 503: { description: "No.", headers: REQUEST_ID, content: { "application/json": { schema } } } };
}

/** One response a status, with the codes that it stands for. */
function errorResponses(codes: readonly ErrorCode[]): Readonly<Record<string, object>> {
  const byStatus = Map.groupBy(codes, (code) => ERROR_CODES[code].http);
  const responses = [...byStatus].map(([status, those]): [number, object] => {
    const description = those.map((code) => `\`${code}\`: ${ERROR_CODES[code].meaning}`).join("\n\n");
    const retryAfter = status === 429 || status === 503 ? { "Retry-After": header("In seconds.") } : {};
    const content = { "application/json": { schema: ref("Error") } };
    return [status, { description, headers: { ...REQUEST_ID, ...retryAfter }, content }];
  });
  return Object.fromEntries(responses);
}

function header(description: string): object {
  return { description, required: true, schema: { type: "string" } };
}

function ref(component: string): Schema {
  return { $ref: `#/components/schemas/${component}` };
}
