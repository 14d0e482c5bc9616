/**
 * The peer: a model inside a web server, as one writes it in an afternoon, without waste: `node:http`, one JSON.parse, one
 * Float32Array, onnxruntime-node with one thread, the answer's text put together by hand. It runs one request at a time
 * and answers the Open Inference Protocol's JSON for models with one FP32 input and outputs of numbers.
 *
 *     node bench/peers/node-monolith.ts MODEL_FILE [PORT]
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";

type InferBody = {
  readonly id?: string;
  readonly inputs: readonly { readonly shape: number[]; readonly data: number[] }[];
};

const [path = "", port = "0"] = process.argv.slice(2);
const session = await InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
const [inputName = ""] = session.inputNames;
const DATATYPES: Readonly<Record<string, string>> = { float32: "FP32", int64: "INT64" };
const model = basename(dirname(dirname(path)));
const head = `"model_name":${JSON.stringify(model)},"model_version":"1","outputs":[`;
const outputs = session.outputMetadata.map(({ name, ...rest }) => {
  const datatype = "type" in rest ? DATATYPES[rest.type] : undefined;
  return { name, head: `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[` };
});

async function infer(text: string): Promise<string> {
  const { id, inputs } = JSON.parse(text) as InferBody;
  const [{ shape, data } = { shape: [], data: [] }] = inputs;
  const results = await session.run({ [inputName]: new Tensor("float32", new Float32Array(data), shape) });
  const texts = outputs.map(({ name, head: start }) => {
    const { dims, data: values } = results[name]!;
    return `${start}${dims.join(",")}],"data":[${(values as Float32Array).join(",")}]}`;
  });
  return `{${id === undefined ? "" : `"id":${JSON.stringify(id)},`}${head}${texts.join(",")}]}`;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    infer(body.toString()).then(
      (text) => answer(response, 200, text),
      (error: unknown) => answer(response, 400, JSON.stringify({ error: String(error) })),
    );
  });
});
server.keepAliveTimeout = 75_000;
server.listen(Number(port), "127.0.0.1", () => {
  const http = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  console.log(`ready ${http}`);
  process.send?.({ type: "ready", addresses: { http } });
});
// Whoever started it is gone, or wants it to end.
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));
