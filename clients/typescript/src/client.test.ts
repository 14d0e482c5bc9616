import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { InferenceClient } from "./client.ts";
import { InferenceError } from "./inference-error.ts";

const INPUTS = { x: { datatype: "FP32", shape: [1], data: Float32Array.of(1) } } as const;
const ANSWER = `{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[7]}]}`;

type Answer = (answer: ServerResponse, asked: IncomingMessage) => void;

/** A server that answers so, one after the other and the last ones for ever, and what it was asked. */
async function serverOf(...answers: readonly Answer[]) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    request.resume();
    const answer = answers[Math.min(asked.length, answers.length) - 1]!;
    request.on("end", () => answer(response, request));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked };
}

const right: Answer = (answer) => answer.end(ANSWER);
const refusing =
  (status: number, headers: Readonly<Record<string, string>> = {}): Answer =>
  (answer) =>
    answer.writeHead(status, headers).end(`{"error":"not now","code":"shed"}`);
const silent: Answer = () => {};

async function failure(call: Promise<unknown>): Promise<InferenceError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InferenceError);
  return error as InferenceError;
}

test("what was refused is sent again, after the time that the server names", async () => {
  const { url, asked } = await serverOf(refusing(429, { "retry-after": "1" }), refusing(503), right);
  const fromMs = performance.now();
  const { outputs } = await new InferenceClient(url).infer("m", INPUTS);
  expect(performance.now() - fromMs).toBeGreaterThan(1_000);
  expect(outputs["y"]?.data).toEqual(BigInt64Array.of(7n));
  expect(asked).toHaveLength(3);
});

test("not more often than asked for, and not if the call's time would pass", async () => {
  const often = await serverOf(refusing(503));
  expect(await failure(new InferenceClient(often.url, { retries: 1 }).infer("m", INPUTS))).toMatchObject({
    message: "not now",
    code: "shed",
    status: 503,
  });
  expect(often.asked).toHaveLength(2);
  const late = await serverOf(refusing(429, { "retry-after": "30", "x-request-id": "r1" }));
  const error = await failure(new InferenceClient(late.url, { timeoutMs: 5_000 }).infer("m", INPUTS));
  expect(error).toMatchObject({ status: 429, retryAfterMs: 30_000, requestId: "r1" });
  expect(late.asked).toHaveLength(1);
});

test("an answer that may have run is not sent again", async () => {
  for (const status of [400, 500, 502, 504]) {
    const { url, asked } = await serverOf(refusing(status));
    expect((await failure(new InferenceClient(url).infer("m", INPUTS))).status).toBe(status);
    expect(asked).toHaveLength(1);
  }
  const cut = await serverOf((answer) => answer.destroy());
  expect((await failure(new InferenceClient(cut.url).infer("m", INPUTS))).code).toBe("network_error");
  expect(cut.asked).toHaveLength(1);
});

test("a call's time is told, and ends it", async () => {
  const { url, asked } = await serverOf(silent);
  const error = await failure(new InferenceClient(url).infer("m", INPUTS, { timeoutMs: 200 }));
  expect(error.code).toBe("client_timeout");
  expect(Number(asked[0]?.headers["x-request-timeout-ms"])).toBeGreaterThan(0);
  expect(Number(asked[0]?.headers["x-request-timeout-ms"])).toBeLessThanOrEqual(200);
});

test("a signal ends a call that waits for its answer, and one that waits to be sent again", async () => {
  for (const answer of [silent, refusing(503, { "retry-after": "20" })]) {
    const { url, asked } = await serverOf(answer);
    const controller = new AbortController();
    const reason = new Error("enough");
    const call = new InferenceClient(url).infer("m", INPUTS, { signal: controller.signal });
    const ended = expect(call).rejects.toBe(reason);
    await expect.poll(() => asked.length).toBe(1);
    controller.abort(reason);
    const fromMs = performance.now();
    await ended;
    expect(performance.now() - fromMs).toBeLessThan(5_000);
    expect(asked).toHaveLength(1);
    await expect(new InferenceClient(url).serverMetadata({ signal: controller.signal })).rejects.toBe(reason);
    expect(asked).toHaveLength(1);
  }
});

test("errors without our form, and answers that are none", async () => {
  const page = await serverOf((answer) => answer.writeHead(502).end("<html>Bad Gateway"));
  expect(await failure(new InferenceClient(page.url).serverMetadata())).toMatchObject({
    code: "http_error",
    status: 502,
    message: "status 502: <html>Bad Gateway",
  });
  const wrong = await serverOf((answer) => answer.end("null"));
  expect((await failure(new InferenceClient(wrong.url).infer("m", INPUTS))).code).toBe("invalid_answer");
  const nobody = new InferenceClient("http://127.0.0.1:1");
  expect(await failure(nobody.isServerLive())).toMatchObject({ code: "network_error", status: 0 });
});

test("states are asked for once, headers and paths are sent as given", async () => {
  const { url, asked } = await serverOf(refusing(503), right);
  const client = new InferenceClient(`${url}base/`, { headers: { authorization: "Bearer k" } });
  expect(await client.isModelReady("a b/c", "2")).toBe(false);
  expect(asked).toHaveLength(1);
  expect(asked[0]?.url).toBe("/base/v2/models/a%20b%2Fc/versions/2/ready");
  await client.infer("m", INPUTS, { requestId: "r2" });
  expect(asked[1]?.headers).toMatchObject({ authorization: "Bearer k", "x-request-id": "r2" });
});
