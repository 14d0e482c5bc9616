import { DATATYPES, type Datatype, ERROR_CODES, type ErrorCode, type ModelDescription } from "@millrace/protocol";
import { expect, test } from "vitest";
import { createApp } from "../app.ts";
import { DOCS_FILES } from "../routes/docs-page.ts";
import { EchoInference, testModel, testOptions, testFormPool } from "../testing.ts";
import { openApiDocument } from "./document.ts";
import { inferRequestSchema } from "./model-schemas.ts";
import { OPERATIONS } from "./operations.ts";
import { componentSchemas } from "./schemas.ts";

function appWith(...models: readonly ModelDescription[]) {
  return createApp({
    inference: new EchoInference(models),
    options: testOptions(),
    formThreads: testFormPool,
    version: "1.2.3",
    isDraining: () => false,
    isRefusing: () => false,
    onDefect: (error) => {
      throw error;
    },
    observer: { began: () => {}, ended: () => {} },
    metricsPage: { contentType: "text/plain", render: () => Promise.resolve("") },
  });
}

type Operation = {
  readonly operationId: string;
  readonly responses: object;
  readonly requestBody: { readonly content: { readonly "application/json": { readonly example: object } } };
};

type Document = {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
};

async function documentOf(...models: readonly ModelDescription[]): Promise<Document> {
  return (await (await appWith(...models).request("/openapi.json")).json()) as Document;
}

test("every route is described, and every route that is described is there", () => {
  // Refusals of what is not supported, and the files of the page, are no part of the interface.
  const served = appWith().routes.filter((route) => !route.startsWith("ALL ") && !route.startsWith("GET /docs/"));
  expect(served.toSorted()).toEqual(Object.keys(OPERATIONS).toSorted());
});

/** Codes that no answer of a described route has: of other routes, of clients that are gone, and between processes. */
const UNSEEN: readonly ErrorCode[] = [
  "method_not_allowed",
  "cancelled",
  "malformed_message",
  "unsupported_version",
  "not_registered",
  "unauthorized",
];

test("every error that a client can get stands with a route", () => {
  const described = new Set(Object.values(OPERATIONS).flatMap(({ errors }) => errors));
  const missing = (Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) => !described.has(code));
  expect(missing.toSorted()).toEqual(UNSEEN.toSorted());
});

test("the document is OpenAPI 3.1: operations have ids of their own, references lead somewhere, parameters are declared", async () => {
  const document = await documentOf(testModel(), testModel({ name: "other" }));
  expect(document.openapi).toBe("3.1.1");
  const operations = Object.values(document.paths).flatMap((item) => Object.values(item));
  const ids = operations.map(({ operationId }) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, name = ""] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    expect(Object.keys(document.components.schemas)).toContain(name);
  }
  for (const [path, item] of Object.entries(document.paths)) {
    for (const name of path.match(/(?<=\{)\w+(?=\})/g) ?? []) {
      expect(JSON.stringify(item), path).toContain(`"name":"${name}","in":"path","required":true`);
    }
  }
  const codes = Object.keys(document.paths["/v2/models/{model}/infer"]?.["post"]?.responses ?? {});
  expect(codes).toEqual(["200", "400", "401", "403", "404", "408", "413", "429", "500", "501", "503", "504"]);
});

test("models that are ready have operations of their own, with their tensors; others have none", async () => {
  const { paths } = await documentOf(
    testModel(),
    testModel({ name: "broken", state: "failed", inputs: [], outputs: [] }),
  );
  expect(Object.keys(paths).filter((path) => /echo|broken/.test(path))).toEqual([
    "/v2/models/echo/infer",
    "/predict/echo",
  ]);
  const content = paths["/v2/models/echo/infer"]?.["post"]?.requestBody.content;
  expect(content).toMatchObject({
    "application/json": {
      example: { inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [0, 0, 0, 0] }] },
      schema: {
        properties: {
          inputs: {
            minItems: 1,
            maxItems: 1,
            items: {
              properties: {
                name: { const: "x" },
                datatype: { const: "FP32" },
                shape: { prefixItems: [{ type: "integer", minimum: 1 }, { const: 4 }], minItems: 2, maxItems: 2 },
              },
            },
          },
        },
      },
    },
  });
});

test("a model may have any name and any tensors", async () => {
  const inputs = (Object.keys(DATATYPES) as Datatype[]).map((datatype, i) => ({
    name: `"${datatype}"/{x}`,
    datatype,
    shape: [[-1], [], [-1, 3, -1]][i % 3] ?? [],
  }));
  const model = testModel({ name: "a.b-c_d", inputs, batching: false });
  const schema = inferRequestSchema(componentSchemas()["InferRequest"]!, model) as {
    example: { inputs: { data: unknown[] }[] };
    properties: { inputs: { items: { oneOf: unknown[] } } };
  };
  expect(schema.properties.inputs.items.oneOf).toHaveLength(inputs.length);
  expect(schema.example.inputs.map(({ data }) => data.length)).toEqual(
    inputs.map(({ shape }) => (shape.length > 2 ? 3 : 1)),
  );
  expect((await documentOf(model)).paths).toHaveProperty(["/v2/models/a.b-c_d/infer", "post"]);
});

test("what the examples show is answered", async () => {
  const model = testModel();
  const app = appWith(model);
  const { paths } = await documentOf(model);
  for (const path of ["/v2/models/echo/infer", "/predict/echo"]) {
    const content = paths[path]?.["post"]?.requestBody.content;
    const body = JSON.stringify(content?.["application/json"].example);
    expect((await app.request(path, { method: "POST", body })).status, path).toBe(200);
  }
});

test("a hundred models at most have operations of their own, and without metrics there is no route for them", () => {
  const models = Array.from({ length: 120 }, (_, i) => ({
    model: testModel({ name: `m${i}` }),
    workers: 1,
    isDefault: true,
  }));
  const { paths } = openApiDocument({ version: "1", models, hasMetrics: false, hasKeys: false }) as Document;
  expect(Object.keys(paths).filter((path) => path.startsWith("/predict/m"))).toHaveLength(100);
  expect(paths).not.toHaveProperty("/metrics");
});

test("where calls need a key, the operations that ask for it say so, and no others", () => {
  const sources = { version: "1", models: [{ model: testModel(), workers: 1, isDefault: true }], hasMetrics: false };
  const secured = (hasKeys: boolean): string[] =>
    Object.entries((openApiDocument({ ...sources, hasKeys }) as Document).paths).flatMap(([path, item]) =>
      Object.values(item).flatMap((operation) => ("security" in operation ? [path] : [])),
    );
  expect(secured(false)).toEqual([]);
  expect(secured(true)).toContain("/v2/models/echo/infer");
  expect(secured(true).filter((path) => !/infer$|predict/.test(path))).toEqual([]);
});

test("the files of the page are there, with their types, and nothing may come from elsewhere", async () => {
  const app = appWith();
  for (const [path, { type }] of Object.entries(DOCS_FILES)) {
    const response = await app.request(path);
    expect([response.status, response.headers.get("content-type")], path).toEqual([200, type]);
    expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'self';/);
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(10);
  }
});
