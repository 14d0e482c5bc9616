import { gunzipSync, inflateSync } from "node:zlib";
import type { Datatype, TensorSpec } from "@millrace/protocol";
import { expect, onTestFinished, test } from "vitest";
import captures from "../vectors/tritonclient.json" with { type: "json" };
import { createApp } from "./app.ts";
import { FormPool } from "./form-threads/form-pool.ts";
import { EchoInference, testModel, testOptions } from "./testing.ts";

/** What the Python client of Triton has sent, byte for byte, is taken; each input comes back under its name and `_out`. */

type Capture = {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
};

type Tensor = { readonly name: string; readonly datatype: string; readonly data?: readonly unknown[] };
type Infer = {
  readonly inputs: readonly (Tensor & { readonly parameters?: { readonly binary_data_size: number } })[];
  readonly outputs?: readonly Tensor[];
};

/** The body as it was before it was compressed, as JSON text and bytes. */
function partsOf({ headers, body }: Capture): { readonly json: string; readonly blobs: Buffer } {
  const sent = Buffer.from(body, "hex");
  const coding = headers["content-encoding"];
  const bytes = coding === "gzip" ? gunzipSync(sent) : coding === "deflate" ? inflateSync(sent) : sent;
  const jsonBytes = Number(headers["inference-header-content-length"] ?? bytes.byteLength);
  return { json: bytes.toString("utf8", 0, jsonBytes), blobs: bytes.subarray(jsonBytes) };
}

/** A gateway whose model `all` has the inputs that the capture is about. */
async function send(capture: Capture): Promise<Response> {
  const { json } = partsOf(capture);
  const given = capture.path.endsWith("/infer") ? (JSON.parse(json) as Infer).inputs : [];
  const specs = given.map(({ name, datatype }): TensorSpec => ({
    name,
    datatype: datatype as Datatype,
    shape: [-1, 2],
  }));
  const outputs = specs.map((spec) => ({ ...spec, name: `${spec.name}_out` }));
  const all = testModel({ name: "all", inputs: specs, outputs });
  const onDefect = (error: unknown): never => {
    throw error;
  };
  const formThreads = new FormPool({ threads: 1, onDefect });
  onTestFinished(() => formThreads.close());
  const app = createApp({
    inference: new EchoInference([all, testModel({ name: "a model" })]),
    options: testOptions(),
    formThreads,
    version: "1",
    isDraining: () => false,
    isRefusing: () => false,
    onDefect,
    observer: { began: () => {}, ended: () => {} },
  });
  const headers = Object.entries(capture.headers).filter(([, value]) => value !== undefined) as [string, string][];
  const body = capture.method === "POST" ? Buffer.from(capture.body, "hex") : null;
  return app.request(capture.path, { method: capture.method, headers, body });
}

const all: readonly Capture[] = captures;
const refused = new Set(["load_model", "unload_model", "infer with a sequence"]);

test.for(all.filter(({ name }) => !refused.has(name)).map((capture) => [capture.name, capture] as const))(
  "%s is answered with 200",
  async ([, capture]) => {
    const response = await send(capture);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect([response.status, response.status === 200 ? "" : bytes.toString()]).toEqual([200, ""]);
  },
);

test.for(all.filter(({ name }) => refused.has(name)).map((capture) => [capture.name, capture] as const))(
  "%s is refused by name, in the form that the client reads",
  async ([, capture]) => {
    const response = await send(capture);
    expect([response.status, Object.keys((await response.json()) as object)]).toEqual([501, ["error", "code"]]);
  },
);

const echoes = all.filter(({ name }) => /^infer (\w+) as/.test(name));

test("there are captures of every datatype, in either form where it has both", () => {
  expect(echoes).toHaveLength(14 + 12);
});

test.for(echoes.map((capture) => [capture.name, capture] as const))("%s comes back as it was", async ([, capture]) => {
  const response = await send(capture);
  const { json, blobs } = partsOf(capture);
  const bytes = Buffer.from(await response.arrayBuffer());
  const [input] = (JSON.parse(json) as Infer).inputs;
  const jsonBytes = Number(response.headers.get("inference-header-content-length") ?? bytes.byteLength);
  const text = bytes.toString("utf8", 0, jsonBytes);
  const [output] = (JSON.parse(text) as { outputs: Tensor[] }).outputs;
  expect([output?.name, output?.datatype]).toEqual([`${input?.name}_out`, input?.datatype]);
  if (blobs.byteLength > 0) return expect(bytes.subarray(jsonBytes)).toEqual(blobs);
  expect(output?.data).toEqual(input?.data);
  // Digits that a double does not hold are compared as text.
  const digits = /"data":\[(\d{16,})/.exec(json)?.[1];
  if (digits !== undefined) expect(text).toContain(digits);
});

test("a mixed request: each output in the form that was asked for, the id, and classes", async () => {
  const capture = all.find(({ name }) => name === "infer mixed")!;
  const response = await send(capture);
  const bytes = Buffer.from(await response.arrayBuffer());
  const jsonBytes = Number(response.headers.get("inference-header-content-length"));
  expect(JSON.parse(bytes.toString("utf8", 0, jsonBytes))).toMatchObject({
    id: "7",
    model_version: "1",
    outputs: [
      { name: "FP32_out", parameters: { binary_data_size: 8 } },
      { name: "INT64_out", data: [9007199254740992, -1] },
      { name: "UINT8_out", datatype: "BYTES", shape: [1, 2], data: ["255:1", "1:0"] },
    ],
  });
  expect(bytes.subarray(jsonBytes)).toEqual(partsOf(capture).blobs.subarray(0, 8));
});
