import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./support/bounded.ts";
import { elements, get, post, requestOf } from "./support/inference-client.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { ROOT } from "./support/repository.ts";
import { readStages } from "./support/server-timing-reader.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** Hooks that behave badly, in a folder outside of the repository, all around the bundled model. */

const HOOKS: Readonly<Record<string, string>> = {
  plain: "",
  identity: `export const preprocess = ({ inputs }) => inputs; export const postprocess = ({ outputs }) => outputs;`,
  throws: `export const preprocess = () => { throw new Error("the reason is here") };`,
  sleeps: `export const postprocess = async ({ outputs }) => { await new Promise((go) => setTimeout(go, 60)); return outputs; };`,
  never: `
    import { appendFile } from "node:fs/promises";
    export const preprocess = (_request, { signal }) => new Promise(() => {
      signal.addEventListener("abort", () => void appendFile(process.env.HEARD, signal.reason.name + "\\n"));
    });`,
  spins: `export const options = { thread: true }; export const preprocess = () => { for (;;); };`,
  broken: `this is no TypeScript`,
  after: `
    import { appendFile } from "node:fs/promises";
    export const after = async ({ outcome }, { requestId }) => {
      await new Promise((go) => setTimeout(go, 300));
      await appendFile(process.env.HEARD, requestId + " " + outcome + "\\n");
    };`,
};

const started = new AsyncDisposableStack();
let system: DevSystem;
let heard: string;
let image: readonly number[];

beforeAll(async () => {
  const folder = started.use(await temporaryFolder()).path;
  heard = join(folder, "heard.txt");
  await writeFile(heard, "");
  for (const [name, text] of Object.entries(HOOKS)) {
    await mkdir(join(folder, "models", name), { recursive: true });
    await symlink(join(ROOT, "models/digits/1"), join(folder, "models", name, "1"));
    if (text !== "") await writeFile(join(folder, "models", name, "hooks.ts"), text);
  }
  const seven = JSON.parse(await readFile(join(ROOT, "examples/digits/7.json"), "utf8")) as {
    inputs: [{ data: readonly number[] }];
  };
  image = seven.inputs[0].data;
  system = started.use(await DevSystem.start({ models: join(folder, "models"), env: { HEARD: heard } }));
});

afterAll(async () => {
  await started.disposeAsync();
});

function ask(model: string, headers: Readonly<Record<string, string>> = {}) {
  const body = requestOf({ image: elements("FP32", [1, 64], image) });
  return post(`${system.url}/v2/models/${model}/infer`, body, headers);
}

async function metric(name: string, labels: Readonly<Record<string, string>>): Promise<number> {
  return sumOf(await readMetrics(system.addresses["gateway-1"]?.["admin"] ?? ""), name, labels);
}

test("hooks that change nothing change nothing", async () => {
  const [plain, identity] = [await ask("plain"), await ask("identity")];
  expect(plain.status).toBe(200);
  expect(identity.text).toBe(plain.text.replace('"model_name":"plain"', '"model_name":"identity"'));
  expect(readStages(plain.headers.get("server-timing") ?? "")).toMatchObject({ preprocess: 0, postprocess: 0 });
  expect(await metric("millrace_gateway_hook_calls_total", { model: "identity", outcome: "ok" })).toBe(2);
});

test("a hook that throws is 500 without its reason, which the log has", async () => {
  const { status, text } = await ask("throws");
  expect([status, text]).toEqual([
    500,
    '{"error":"hook preprocess of model \\"throws\\" failed","code":"hook_failed"}',
  ]);
  await system.process.log.waitFor(/a hook failed.*throws|throws.*a hook failed/);
  expect(system.process.log.tail(400)).toContain("the reason is here");
});

test("a slow hook is a stage of its own requests, and nobody else's", async () => {
  const slow = Promise.all(Array.from({ length: 8 }, () => ask("sleeps")));
  const [sleeping, plain] = [await slow, await ask("plain")];
  for (const { status, headers } of sleeping) {
    expect(status).toBe(200);
    expect(readStages(headers.get("server-timing") ?? "").postprocess).toBeGreaterThan(59);
  }
  expect(readStages(plain.headers.get("server-timing") ?? "").postprocess).toBe(0);
});

test("a hook that never ends is 504 when the budget has passed, hears of it, and stays to be seen", async () => {
  const { status, text, headers } = await ask("never", { "x-request-timeout-ms": "100" });
  expect([status, (JSON.parse(text) as { code: string }).code]).toEqual([504, "deadline_exceeded"]);
  expect(readStages(headers.get("server-timing") ?? "").preprocess).toBeGreaterThan(95);
  await until(5_000, "the hook hears", async () => (await readFile(heard, "utf8")).includes("TimeoutError"));
  expect(await metric("millrace_gateway_hook_calls_total", { model: "never", outcome: "late" })).toBe(1);
  expect(await metric("millrace_gateway_hook_running", { model: "never" })).toBe(1);
});

test("clients that go away while a hook runs leave nothing in flight", async () => {
  const clients = Array.from({ length: 50 }, () => {
    const abort = new AbortController();
    const body = JSON.stringify(requestOf({ image: elements("FP32", [1, 64], image) }));
    const gone = fetch(`${system.url}/v2/models/never/infer`, { method: "POST", body, signal: abort.signal });
    return { abort, gone: gone.catch(() => "gone") };
  });
  const inFlight = () => metric("millrace_gateway_inflight_requests", { model: "never" });
  await until(5_000, "all are in flight", async () => (await inFlight()) === 50);
  for (const { abort } of clients) abort.abort();
  expect(await Promise.all(clients.map(({ gone }) => gone))).toEqual(clients.map(() => "gone"));
  await until(5_000, "none is in flight", async () => (await inFlight()) === 0);
  expect(await metric("millrace_gateway_hook_calls_total", { model: "never", outcome: "cancelled" })).toBe(50);
  const aborts = async () => (await readFile(heard, "utf8")).split("AbortError").length - 1;
  await until(5_000, "all hooks hear", async () => (await aborts()) === 50);
});

test("a hook that computes for ever in its thread costs its own request, and the thread is replaced", async () => {
  for (let i = 0; i < 2; i++) {
    const spinning = ask("spins", { "x-request-timeout-ms": "200" });
    expect((await ask("plain")).status).toBe(200);
    expect((await spinning).status).toBe(504);
    await until(
      10_000,
      "the thread is gone",
      async () => (await metric("millrace_gateway_hook_running", { model: "spins" })) === 0,
    );
  }
});

test("a model with broken hooks is not served, and says why", async () => {
  const { status, text } = await ask("broken");
  expect([status, text]).toEqual([503, expect.stringContaining("its hooks cannot be used: SyntaxError")]);
  expect((await get(`${system.url}/v2/models/broken/ready`)).status).toBe(503);
  expect((await get(`${system.url}/readyz`)).status).toBe(200);
});

test("a drain waits for the after hooks of what was answered", async () => {
  const answers = await Promise.all(
    Array.from({ length: 70 }, (_, i) => ask("after", { "x-request-id": `after-${i}` })),
  );
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  await system.stop();
  const lines = (await readFile(heard, "utf8")).split("\n").filter((line) => line.startsWith("after-"));
  expect(lines.toSorted()).toEqual(answers.map((_, i) => `after-${i} ok`).toSorted());
});
