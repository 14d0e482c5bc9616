import { execFile } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Datatype, InferenceClient, type Tensor, textsOf } from "../clients/typescript/src/mod.ts";
import { writeConformanceModels } from "./conformance/conformance-models.ts";
import { findChromium, launchChromium, NO_CHROMIUM } from "./support/browser.ts";
import { NODE, ROOT } from "./support/repository.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const run = promisify(execFile);

const cleanup = new AsyncDisposableStack();
let system: DevSystem;
let client: InferenceClient;

beforeAll(async () => {
  const folder = cleanup.use(await temporaryFolder());
  await writeConformanceModels(folder.path);
  system = cleanup.use(await DevSystem.start({ models: folder.path, readyTimeoutMs: 60_000 }));
  client = new InferenceClient(system.url);
}, 90_000);

afterAll(() => cleanup.disposeAsync());

/** Three elements of each datatype that onnxruntime for Node carries, the ends of its range among them. */
const TENSORS: { readonly [D in Exclude<Datatype, "BF16">]: Extract<Tensor, { datatype: D }>["data"] } = {
  BOOL: Uint8Array.of(1, 0, 1),
  INT8: Int8Array.of(-128, 0, 127),
  INT16: Int16Array.of(-32_768, 0, 32_767),
  INT32: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1),
  INT64: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n, 2n ** 63n - 1n),
  UINT8: Uint8Array.of(0, 1, 255),
  UINT16: Uint16Array.of(0, 1, 65_535),
  UINT32: Uint32Array.of(0, 1, 2 ** 32 - 1),
  UINT64: BigUint64Array.of(0n, 2n ** 53n + 1n, 2n ** 64n - 1n),
  FP16: Uint16Array.of(0x7c00, 0x8000, 0x3555),
  FP32: Float32Array.of(3.4028234663852886e38, 1e-45, 0.1),
  FP64: Float64Array.of(1.7976931348623157e308, 5e-324, 0.1),
  BYTES: ["", "größer 🦀", `"\t\\`],
};

test.each(Object.keys(TENSORS) as (keyof typeof TENSORS)[])("%s goes and comes back", async (datatype) => {
  const model = `echo_${datatype.toLowerCase()}`;
  const tensor = { datatype, shape: [1, 3], data: TENSORS[datatype] } as Tensor;
  for (const form of ["binary", "json"] as const) {
    const call = client.infer(model, { in: tensor }, { form });
    if (datatype === "FP16" && form === "json") {
      await expect(call).rejects.toThrow("FP16 cannot go as JSON");
      continue;
    }
    const { outputs, modelVersion } = await call;
    const { out } = outputs;
    expect(modelVersion).toBe("1");
    expect(out).toMatchObject({ datatype, shape: [1, 3] });
    expect(datatype === "BYTES" ? textsOf(out!) : out!.data).toEqual(tensor.data);
    const empty = { ...tensor, shape: [2, 0], data: tensor.data.slice(0, 0) } as Tensor;
    expect((await client.infer(model, { in: empty }, { form })).outputs["out"]?.data).toHaveLength(0);
  }
});

test("outputs are chosen, classified, and views of the answer", async () => {
  const image: Tensor = {
    datatype: "FP32",
    shape: [2, 64],
    data: Float32Array.from({ length: 128 }, (_, at) => at % 17),
  };
  const all = await client.infer("digits", { image }, { requestId: "r-1" });
  expect(Object.keys(all.outputs)).toEqual(["label", "probabilities"]);
  expect(all.outputs["label"]!.data.length).toBe(2);
  expect((all.outputs["probabilities"]!.data as Float32Array).buffer).toBe(
    (all.outputs["label"]!.data as BigInt64Array).buffer,
  );
  expect(all.requestId).toBe("r-1");
  expect(all.serverTiming).toContain("compute");
  const { outputs } = await client.infer(
    "digits",
    { image },
    { outputs: [{ name: "probabilities", classification: 1 }] },
  );
  const labels = Array.from(all.outputs["label"]!.data as BigInt64Array, String);
  expect(textsOf(outputs["probabilities"]!).map((text) => text.split(":")[1])).toEqual(labels);
});

test("what the server refuses says why", async () => {
  const x: Tensor = { datatype: "FP32", shape: [1, 2], data: new Float32Array(2) };
  await expect(client.infer("nobody", { x })).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  await expect(client.infer("digits", { x })).rejects.toMatchObject({ status: 400, code: "invalid_input" });
  // A run takes 300 ms: refused at once, or when the time has passed here or there.
  await expect(client.infer("slow", { x }, { timeoutMs: 60 })).rejects.toMatchObject({
    code: expect.stringMatching(/^(shed|deadline_exceeded|client_timeout)$/) as string,
  });
  expect((await client.infer("slow", { x })).outputs["y"]?.shape).toEqual([1, 2]);
});

test("health, metadata, config, statistics and index", async () => {
  expect(await Promise.all([client.isServerLive(), client.isServerReady()])).toEqual([true, true]);
  expect(await client.isModelReady("digits")).toBe(true);
  expect(await client.isModelReady("digits", "9")).toBe(false);
  expect((await client.serverMetadata()).name).toBe("millrace");
  expect((await client.modelMetadata("digits", "1")).inputs).toEqual([
    { name: "image", datatype: "FP32", shape: [-1, 64] },
  ]);
  expect((await client.modelConfig("digits")).max_batch_size).toBe(64);
  const [digits] = await client.statistics("digits", "1");
  expect(digits).toMatchObject({ name: "digits", version: "1" });
  const names = (await client.statistics()).map(({ name }) => name);
  expect((await client.repositoryIndex()).map(({ name }) => name).toSorted()).toEqual(names.toSorted());
});

/** As somebody writes it who has the package alone. */
const PROGRAM = `
import { InferenceClient, InferenceError } from "@millrace/client";

const client = new InferenceClient(process.argv[2] ?? "");
const image = { datatype: "FP32", shape: [1, 64], data: new Float32Array(64) } as const;
const { outputs } = await client.infer("digits", { image }, { outputs: ["label"] });
if (outputs["label"]?.datatype !== "INT64") throw new Error("no label");
const label: bigint | undefined = outputs["label"].data[0];
const error: unknown = await client.infer("nobody", { image }).catch((reason: unknown) => reason);
// @ts-expect-error FP32 is given as Float32Array.
const wrong: unknown = await client.infer("digits", { image: { ...image, data: [1] } }).catch((reason: unknown) => reason);
console.log(typeof label, error instanceof InferenceError && error.code, wrong instanceof TypeError);
`;

/** Packs the client as it is published, and installs that into an empty project. */
async function installInto(folder: string): Promise<string> {
  const packed = join(folder, "packed");
  const project = join(folder, "project");
  await mkdir(packed);
  await mkdir(project);
  await run("npm", ["pack", "--pack-destination", packed], { cwd: join(ROOT, "clients", "typescript") });
  const [tarball = ""] = await readdir(packed);
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(packed, tarball)], { cwd: project });
  return project;
}

test("packed and installed into an empty project, it type-checks and calls the gateway", async () => {
  await using folder = await temporaryFolder();
  const project = await installInto(folder.path);
  await writeFile(join(project, "use.ts"), PROGRAM);
  const types = ["--typeRoots", join(ROOT, "node_modules", "@types"), "--types", "node"];
  const flags = ["--strict", "--module", "nodenext", "--target", "es2022", "--outDir", "."];
  const check = run(join(ROOT, "node_modules", ".bin", "tsc"), [...flags, ...types, "use.ts"], { cwd: project });
  await check.catch((error: { stdout: string }) => expect.fail(error.stdout));
  const { stdout } = await run(NODE, ["use.js", system.url], { cwd: project });
  expect(stdout).toBe("bigint model_not_found true\n");
});

/** Where a browser has to be there, as in CI, the test fails without one; elsewhere it is skipped, and says so. */
const isSkipped = findChromium() === undefined && process.env["TEST_BROWSER"] !== "required";
if (isSkipped) console.warn(`SKIPPED the browser of tests/typescript-client.test.ts: ${NO_CHROMIUM}`);

/** As a page does it that comes from the gateway's own origin. */
const SCRIPT = `
import { InferenceClient } from "/client/mod.js";
const client = new InferenceClient(location.origin);
const values = { datatype: "INT64", shape: [1, 2], data: BigInt64Array.of(2n ** 53n + 1n, -7n) };
const told = [];
for (const form of ["binary", "json"]) told.push((await client.infer("echo_int64", { in: values }, { form })).outputs.out.data.join());
told.push((await client.infer("nobody", { in: values }).catch((error) => error)).code);
document.title = told.join(" ");
`;

test.skipIf(isSkipped)("it works in a browser", async () => {
  await using folder = await temporaryFolder();
  const files = join(await installInto(folder.path), "node_modules", "@millrace", "client", "dist");
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.route("**/client/*.js", (route) =>
      route.fulfill({ path: join(files, basename(route.request().url())) }),
    );
    await page.route("**/page", (route) =>
      route.fulfill({ contentType: "text/html", body: `<title></title><script type="module">${SCRIPT}</script>` }),
    );
    await page.goto(`${system.url}/page`);
    await expect.poll(() => page.title()).toBe("9007199254740993,-7 9007199254740993,-7 model_not_found");
  } finally {
    await browser.close();
  }
});
