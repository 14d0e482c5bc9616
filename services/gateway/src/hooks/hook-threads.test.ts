import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadHooks } from "./hook-folder.ts";
import { loadHookModule } from "./hook-loader.ts";
import type { Hooks } from "./hook-module.ts";
import type { HookWork } from "./hook-message.ts";
import { type HookRunner, type HookScope, type HookSinks, InlineRunner } from "./hook-runner.ts";
import { toHookTensors } from "./hook-tensor.ts";
import { HookThreads } from "./hook-threads.ts";

/** A module outside of this repository, with no package.json around it: as a mounted folder is. */
const MODULE = `
import { elementsOf, InvalidRequest, type After, type HookOptions, type Preprocess, type Postprocess } from "@millrace/hooks";
import { half } from "./half.ts";

export const options: HookOptions = { thread: true, threads: 2 };

export const preprocess: Preprocess = async (request, context) => {
  const [what] = elementsOf(request.inputs, "what", "BYTES").map(String);
  context.log.info({ rows: request.rows }, "hook runs");
  context.count("cache_hit", 2);
  context.state["left"] = what;
  if (what === "refuse") throw new InvalidRequest("refused");
  if (what === "spin") for (;;);
  if (what === "crash") process.exit(3);
  if (what === "function") return { x: () => {} } as never;
  if (what === "wait") {
    await new Promise((_resolve, reject) => context.signal.addEventListener("abort", () => reject(new Error("heard"))));
  }
  const data = elementsOf(request.inputs, "x", "FP32").map(half);
  return { x: { shape: [1, data.length], data } };
};

export const postprocess: Postprocess = (answer, context) => {
  return { y: { shape: [1], data: [String(context.state["left"]) + elementsOf(answer.outputs, "y", "BYTES").join()] } };
};

export const after: After = (record) => {
  if (record.outcome !== "ok" || record.request.rows !== 1) throw new Error("not as it was");
};
`;

let folder: string;
let hooks: Hooks;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-test-"));
  await mkdir(join(folder, "m"));
  path = join(folder, "m", "hooks.ts");
  await writeFile(path, MODULE);
  await writeFile(join(folder, "m", "half.ts"), "export const half = (x: number): number => x / 2;\n");
  hooks = (await loadHookModule(path)) as Hooks;
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const told: unknown[] = [];
const sinks: HookSinks = {
  log: (level, fields, text) => told.push([level, fields, text]),
  count: (event, times) => told.push([event, times]),
};

function scopeOf(signal = new AbortController().signal): HookScope {
  const model = { name: "m", version: "1" };
  return { model, requestId: "r", signal, deadlineMs: performance.now() + 5_000, state: {} };
}

const asking = (what: string): HookWork => {
  const x = { name: "x", datatype: "FP32", shape: [1, 2], data: new Uint8Array(Float32Array.of(3, 5).buffer) } as const;
  const bytes = Buffer.concat([Buffer.from([what.length, 0, 0, 0]), Buffer.from(what)]);
  const text = { name: "what", datatype: "BYTES", shape: [1], data: bytes } as const;
  return { hook: "preprocess", given: { rows: 1, inputs: toHookTensors([x, text]) } };
};

const RUNNERS: readonly [string, () => HookRunner][] = [
  ["on the gateway's thread", () => new InlineRunner(hooks, sinks)],
  ["in threads", () => new HookThreads({ path, threads: 2, sinks })],
];

test.for(RUNNERS)("%s: one contract for tensors, state, log, counts, errors and the signal", async ([, create]) => {
  const runner = create();
  told.length = 0;
  const scope = scopeOf();
  expect(await runner.run(asking("hello"), scope)).toEqual({ x: { shape: [1, 2], data: Float32Array.of(1.5, 2.5) } });
  expect(scope.state).toEqual({ left: "hello" });
  expect(told).toEqual([
    ["info", { rows: 1, requestId: "r" }, "hook runs"],
    ["cache_hit", 2],
  ]);
  // Anew each time: a thread takes them over.
  const given = () => ({
    outputs: toHookTensors([{ name: "y", datatype: "BYTES", shape: [1], data: Buffer.from([1, 0, 0, 0, 0x41]) }]),
    request: { rows: 1, inputs: toHookTensors([]) },
  });
  const answer = await runner.run({ hook: "postprocess", given: { ...given(), batchRows: 1 } }, scope);
  expect(answer).toEqual({ y: { shape: [1], data: ["helloA"] } });
  const record = { ...given(), atMs: 0, durationMs: 1, outcome: "ok" };
  expect(await runner.run({ hook: "after", given: record }, scope)).toBeUndefined();
  await expect(runner.run(asking("refuse"), scopeOf())).rejects.toMatchObject({
    name: "InvalidRequest",
    message: "refused",
  });
  const controller = new AbortController();
  const waiting = runner.run(asking("wait"), scopeOf(controller.signal));
  setTimeout(() => controller.abort(), 20);
  await expect(waiting).rejects.toThrow("heard");
  await runner.close();
});

test("a thread that crashes fails its call alone, and a new one follows", async () => {
  const threads = new HookThreads({ path, threads: 1, sinks });
  await expect(threads.run(asking("crash"), scopeOf())).rejects.toThrow("the thread of hooks has ended (code 3)");
  await expect
    .poll(() => threads.run(asking("a"), scopeOf()), { timeout: 5_000 })
    .toMatchObject({ x: { shape: [1, 2] } });
  await threads.close();
});

test("a thread that computes on when nobody waits any longer is replaced", async () => {
  const threads = new HookThreads({ path, threads: 1, sinks });
  await threads.run(asking("a"), scopeOf());
  const controller = new AbortController();
  const spinning = threads.run(asking("spin"), scopeOf(controller.signal));
  const behind = threads.run(asking("a"), scopeOf());
  setTimeout(() => controller.abort(), 20);
  await expect(spinning).rejects.toThrow("the thread of hooks has ended");
  await expect(behind).rejects.toThrow("the thread of hooks has ended");
  expect(await threads.run(asking("a"), scopeOf())).toMatchObject({ x: { shape: [1, 2] } });
  await threads.close();
});

test("while one thread computes, calls go to the other", async () => {
  const threads = new HookThreads({ path, threads: 2, sinks });
  const controller = new AbortController();
  const spinning = threads.run(asking("spin"), scopeOf(controller.signal)).catch(() => "ended");
  for (let i = 0; i < 5; i++) expect(await threads.run(asking("a"), scopeOf())).toMatchObject({ x: { shape: [1, 2] } });
  await threads.close();
  expect(await spinning).toBe("ended");
});

test("what cannot be copied to the gateway is the hook's failure", async () => {
  const threads = new HookThreads({ path, threads: 1, sinks });
  await expect(threads.run(asking("function"), scopeOf())).rejects.toMatchObject({ name: "DataCloneError" });
  await threads.close();
});

test("a folder of models is looked through for hooks; a module that cannot be used says why", async () => {
  const models = await mkdtemp(join(folder, "models-"));
  for (const name of ["good", "broken", "typed", "none", ".hidden"]) await mkdir(join(models, name));
  await writeFile(join(models, "file.onnx"), "");
  await writeFile(join(models, "good", "hooks.ts"), "export const after = (): void => {};");
  await writeFile(join(models, "broken", "hooks.ts"), "throw new Error('at the top');");
  await writeFile(join(models, "typed", "hooks.ts"), "enum No { A }\nexport const after = () => No.A;");
  await writeFile(join(models, ".hidden", "hooks.ts"), "export const after = (): void => {};");
  // As Kubernetes mounts a ConfigMap.
  await mkdir(join(models, "..2026", "mounted"), { recursive: true });
  const imports = 'import { logPayloads } from "@millrace/hooks";\n';
  await writeFile(
    join(models, "..2026", "mounted", "hooks.ts"),
    `${imports}export const after = logPayloads({ file: "x" });`,
  );
  await symlink("..2026", join(models, "..data"));
  await symlink("..data/mounted", join(models, "mounted"));
  // Its model must not be served as if it had none.
  await mkdir(join(models, "lost"));
  await symlink("nowhere", join(models, "lost", "hooks.ts"));
  const found = await loadHooks(models);
  expect([...found.keys()]).toEqual(["broken", "good", "lost", "mounted", "typed"]);
  expect(found.get("lost")?.hooks).toMatch(/lost\/hooks\.ts/);
  expect(found.get("mounted")?.hooks).toMatchObject({ after: expect.any(Function) });
  expect(found.get("good")?.hooks).toMatchObject({ threads: 0, after: expect.any(Function) });
  expect(found.get("broken")?.hooks).toBe("Error: at the top");
  await expect(loadHooks(join(models, "nowhere"))).rejects.toThrow(/--models .*nowhere cannot be read/);
});
