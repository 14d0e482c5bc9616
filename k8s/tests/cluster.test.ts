import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, type RunningLoad, startLoad } from "../../tests/support/load.ts";
import type { LoadPlan, LoadReport } from "../../tests/support/load-plan.ts";
import { writeModels } from "../../tests/support/load-models.ts";
import { ROOT } from "../../tests/support/repository.ts";
import { temporaryFolder } from "../../tests/support/temporary-folder.ts";
import {
  awaitRollout,
  awaitService,
  deletePod,
  fetchInside,
  kubectl,
  listPods,
  NETWORK_NAMESPACE,
  type Pod,
  type ResidentBytes,
  residentBytes,
  restart,
  scale,
} from "./cluster.ts";
import { simulatedDeviceModel } from "./simulated-device.ts";

/** The promise for a machine that has the time for it; one whose processors others use, too, may break it. */
const READY_S_MAX = 10;
const SCALE_OUT_MIN = 2.8;
/** Until the workers know how long a run takes, and for how long answers are counted. */
const SETTLE_MS = 2_000;
const MEASURED_MS = 10_000;
/** Answers after each step, so that its consequences are seen. */
const ANSWERS_AFTER = 300;

const DIGITS = { model: "digits", path: join(ROOT, "models/digits/1/model.onnx"), rows: 500, seed: 5 };
const WORKERS = "worker-digits";
const INTO_THE_NETWORK = ["nsenter", `--net=${NETWORK_NAMESPACE}`];

/** Every pod that was ready at some time, by uid. */
const seen = new Map<string, Pod>();
/** Resident memory after the load, by component. */
const resident = new Map<string, ResidentBytes>();
let url = "";

beforeAll(async () => {
  // From here on the API refuses pods that do not keep to the restricted standard.
  await kubectl("label", "--overwrite", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted");
  await kubectl("apply", "--kustomize", join(ROOT, "k8s/overlays/dev"));
  for (const name of ["broker", "gateway", WORKERS]) await awaitRollout(name);
  url = await awaitService("gateway", "/v2/models/digits/ready");
}, 180_000);

afterAll(() => console.log(table()));

/** Steady: most connections rest at any time, so that the processors have time for the cluster, too. */
function steadyLoad(): Promise<RunningLoad> {
  const plan: LoadPlan = {
    urls: [url],
    connections: 16,
    thinkMs: 20,
    requests: Number.MAX_SAFE_INTEGER,
    pools: [DIGITS],
    seed: 7,
  };
  return startLoad(plan, { through: INTO_THE_NETWORK });
}

/** Carries steps out one after another while the load runs, and tells of each how long it took and what the load met. */
async function underLoad(steps: Readonly<Record<string, () => Promise<void>>>): Promise<LoadReport> {
  await using load = await steadyLoad();
  let before = await load.progressed(({ answers }) => answers >= ANSWERS_AFTER);
  for (const [what, step] of Object.entries(steps)) {
    const startedMs = performance.now();
    await step();
    await note();
    const now = await load.progressed(({ answers }) => answers >= before.answers + ANSWERS_AFTER);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    const answers = now.answers - before.answers;
    console.log(`${what}: ${seconds} s, ${answers} answers, ${now.notOk - before.notOk} not 200`);
    before = now;
  }
  const report = await load.stop();
  console.log(describeLoad(report));
  return report;
}

/** How many answers there are, and when: as the next message of the load says. */
async function moment(load: RunningLoad): Promise<{ readonly answers: number; readonly atMs: number }> {
  const { answers: before } = await load.progressed(() => true);
  const { answers } = await load.progressed((progress) => progress.answers > before);
  return { answers, atMs: performance.now() };
}

/** Remembers the pods that are ready. */
async function note(): Promise<Pod[]> {
  const pods = await listPods();
  for (const pod of pods) if (pod.isReady) seen.set(pod.uid, pod);
  return pods;
}

/** A step that must leave every pod of the other components as it is: the same pod, never restarted. */
function alone(component: string, step: () => Promise<void>): () => Promise<void> {
  const others = async (): Promise<object[]> =>
    (await note())
      .filter((pod) => pod.component !== component)
      .map(({ name, uid, restarts }) => ({ name, uid, restarts }));
  return async () => {
    const before = await others();
    await step();
    expect(await others(), "other pods").toEqual(before);
  };
}

async function logs(): Promise<void> {
  console.error(await kubectl("get", "pods,events", "--output", "wide"));
  console.error(await kubectl("logs", "--selector", "app.kubernetes.io/name=millrace", "--prefix", "--tail", "40"));
}

test("the API takes the overlay for production", async () => {
  const said = await kubectl("apply", "--dry-run=server", "--kustomize", join(ROOT, "k8s/overlays/prod-cpu"));
  expect(said).toMatch(/^horizontalpodautoscaler.autoscaling\/gateway created/m);
});

test("every image has all that its role serves: metrics, and the broker's page", async () => {
  for (const { ip, component } of await listPods()) {
    const admin = `http://${ip}:9100`;
    expect(await fetchInside(`${admin}/metrics`), component).toMatch(/^millrace_build_info\{/m);
    if (component !== "broker") continue;
    const page = await fetchInside(`${admin}/dashboard`);
    const parts = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
    expect(parts).toContain("dashboard/uplot.js");
    for (const path of parts) expect(await fetchInside(`${admin}/${path}`)).not.toBe("");
  }
  // A line that is not JSON comes from below us: a library that lacks something.
  const lines = (await kubectl("logs", "--selector", "app.kubernetes.io/name=millrace", "--tail", "-1"))
    .trim()
    .split("\n");
  expect(lines.filter((line) => !line.startsWith("{"))).toEqual([]);
});

test("scaling, rolling restarts and a deleted pod cost nobody an answer, and touch nothing else", async () => {
  onTestFailed(logs);
  const report = await underLoad({
    "workers 1 → 3": alone("worker", () => scale(WORKERS, 3)),
    "a worker pod deleted": alone("worker", () => deletePod(WORKERS, "drained")),
    "a worker pod killed": alone("worker", () => deletePod(WORKERS, "killed")),
    "workers 3 → 1": alone("worker", () => scale(WORKERS, 1)),
    "gateway restarted": alone("gateway", () => restart("gateway")),
    "workers restarted": alone("worker", () => restart(WORKERS)),
  });
  assertAllRight(report);
  for (const { component, name } of await listPods()) resident.set(component, await residentBytes(name));
});

test("a restart of the broker under load costs nobody an answer", async () => {
  onTestFailed(logs);
  const report = await underLoad({ "broker restarted": alone("broker", () => restart("broker")) });
  assertAllRight(report);
});

test(`a second pool joins; its workers 1 → 3 answer at least ${SCALE_OUT_MIN} times as much`, async () => {
  onTestFailed(logs);
  await using folder = await temporaryFolder();
  const [path = ""] = await writeModels(folder.path, [simulatedDeviceModel()]);
  await alone("worker", async () => {
    await kubectl("apply", "--kustomize", join(ROOT, "k8s/tests/simulated"));
    await awaitRollout("worker-simulated");
  })();
  await awaitService("gateway", "/v2/models/simulated/ready");
  const plan: LoadPlan = {
    urls: [url],
    // Of one row each, and enough of them that every batch of every worker is full.
    connections: 96,
    rowsMax: 1,
    requests: Number.MAX_SAFE_INTEGER,
    pools: [{ model: "simulated", path, rows: 200, seed: 9 }],
    seed: 8,
  };
  const requestsPerSecond = async (workers: number): Promise<number> => {
    await scale("worker-simulated", workers);
    await note();
    await using load = await startLoad(plan, { through: INTO_THE_NETWORK });
    await sleep(SETTLE_MS);
    const from = await moment(load);
    await sleep(MEASURED_MS);
    const to = await moment(load);
    const report = await load.stop();
    assertAllRight(report);
    const rate = (to.answers - from.answers) / ((to.atMs - from.atMs) / 1000);
    console.log(`${workers} workers: ${rate.toFixed(1)} requests/s; ${describeLoad(report)}`);
    return rate;
  };
  const before = await requestsPerSecond(1);
  const three = await requestsPerSecond(3);
  const after = await requestsPerSecond(1);
  const ratio = three / ((before + after) / 2);
  console.log(
    `3 workers do ${ratio.toFixed(2)} times the work of 1 (before and after: ${(after / before).toFixed(2)})`,
  );
  await kubectl("delete", "--kustomize", join(ROOT, "k8s/tests/simulated"), "--wait=true");
  expect(ratio).toBeGreaterThan(SCALE_OUT_MIN);
});

test(`every pod was ready within ${READY_S_MAX} s`, () => {
  expect(seen.size).toBeGreaterThan(6);
  const lines = [...seen.values()]
    .toSorted((a, b) => b.readyS - a.readyS)
    .map(({ name, readyS, startedS }) => ({
      readyS,
      text: `${name}: ${readyS} s, its container ran after ${startedS} s`,
    }));
  console.log(`until ready, slowest first:\n${lines.map(({ text }) => text).join("\n")}`);
  const late = lines.filter(({ readyS }) => readyS > READY_S_MAX).map(({ text }) => text);
  expect(late, `not ready within ${READY_S_MAX} s; what comes before the container runs is the cluster's`).toEqual([]);
});

/** What a pod of each role costs. */
function table(): string {
  const mib = (bytes = NaN): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const lines = ["gateway", "broker", "worker"].map((role) => {
    const readyS = [...seen.values()].filter(({ component }) => component === role).map((pod) => pod.readyS);
    const image = statSync(join(ROOT, ".cache/images", `${role}.tar`)).size;
    const { all, own } = resident.get(role) ?? {};
    const ready = `${readyS.length} pods ready in ${Math.min(...readyS)} to ${Math.max(...readyS)} s`;
    return `${role}: image ${mib(image)}, resident ${mib(all)} (its own ${mib(own)}), ${ready}`;
  });
  return lines.join("\n");
}
