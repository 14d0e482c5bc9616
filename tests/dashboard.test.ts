import { afterAll, beforeAll, expect, test } from "vitest";
import { within } from "./support/bounded.ts";
import { readEventStream } from "./support/event-stream.ts";
import { elements, post, requestOf } from "./support/inference-client.ts";
import { assertAllRight, startLoad } from "./support/load.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { type MetricSample, readMetrics, sumOf } from "./support/metrics-text.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** A worker that is killed has to be seen within this time, in ms. */
const SEEN_WITHIN_MS = 3_000;

/** What else the machine does may hold up the news of one kill; who is slow to tell is so each time. */
const DISTURBED = { retry: 2 };

/** How far the page may be from `/metrics`. Its own rounding is 0.05 %. */
const TOLERANCE = 0.02;

/** The time of a sample is rounded to 0.1 s: by so much a span between two of them may be off. */
const SPAN_ROUNDING_S = 0.1;

const DURATION = "millrace_broker_request_duration_seconds";
const STAGE = "millrace_broker_stage_duration_seconds";

/** What the page is sent, as far as it is looked at here. */
type Row = { readonly id: string; readonly name: string; readonly state: string };
type Now = { readonly totals: readonly number[]; readonly table: readonly Row[] };
type Entry = { readonly what: string; readonly detail: string };
type Start = {
  readonly columns: readonly string[];
  readonly history: readonly (readonly (number | null)[])[];
  readonly now: Now;
};
type Second = { readonly sample: readonly (number | null)[]; readonly now: Now; readonly log: readonly Entry[] };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let modelPath: string;
let system: DevSystem;
let admin: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  [modelPath = ""] = await writeModels(folder.path, [perceptronModel()]);
  system = await DevSystem.start({ models: folder.path, workers: 2, args: ["--threads", "1"] });
  admin = system.addresses["broker-1"]?.["admin"] ?? "";
});

afterAll(async () => {
  await system?.stop();
  await system?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** The seconds of the feed as records by column, once the first frame has come. */
async function* seconds(query = ""): AsyncGenerator<Second & { readonly at: Readonly<Record<string, number | null>> }> {
  let columns: readonly string[] = [];
  for await (const { event, data } of readEventStream(`${admin}/dashboard/events${query}`)) {
    if (event === "start") ({ columns } = data as Start);
    else {
      const second = data as Second;
      yield { ...second, at: Object.fromEntries(columns.map((column, i) => [column, second.sample[i] ?? null])) };
    }
  }
}

/** A quantile as PromQL's histogram_quantile gives it, over the increase between two scrapes, in ms. */
function quantileOf(before: readonly MetricSample[], after: readonly MetricSample[], q: number): number {
  const labels = { model: "perceptron", outcome: "ok" };
  const bounds = after
    .filter(
      ({ name, labels: has }) =>
        name === `${DURATION}_bucket` && has["model"] === "perceptron" && has["outcome"] === "ok",
    )
    .map(({ labels: has }) => has["le"] ?? "");
  const increase = (le: string): number =>
    sumOf(after, `${DURATION}_bucket`, { ...labels, le }) - sumOf(before, `${DURATION}_bucket`, { ...labels, le });
  const rank = q * increase("+Inf");
  const at = bounds.findIndex((le) => increase(le) >= rank);
  const [low, high] = [at === 0 ? 0 : Number(bounds[at - 1]), Number(bounds[at])];
  const below = at === 0 ? 0 : increase(bounds[at - 1]!);
  return 1000 * (low + (high - low) * ((rank - below) / (increase(bounds[at]!) - below)));
}

/** Notes how far two figures are apart, and asserts that it is little. */
function compare(what: string, [shown, told]: readonly [number, number], tolerance = TOLERANCE): string {
  // A counter that was told too much of a long run stands still until the rest has caught up: 0 beside 0.
  const apart = shown === told ? 0 : Math.abs(shown / told - 1);
  expect(apart, `${what}: the page shows ${shown}, /metrics tells ${told}`).toBeLessThan(tolerance);
  return `${what} ${(100 * apart).toFixed(3)} %`;
}

/** Asserts that a rate, over the time that has passed, is this count: however late the samples were. */
function expectRate(rate: number, seconds: number, count: number): void {
  const apart = Math.abs(rate * seconds - count);
  expect(apart, `${rate} /s over ${seconds} s, ${count} counted`).toBeLessThanOrEqual(
    rate * SPAN_ROUNDING_S + 0.001 * count,
  );
}

/** Requests that ended with ok, as `/metrics` counts them now. */
async function countOk(): Promise<number> {
  return sumOf(await readMetrics(admin), `${DURATION}_count`, { outcome: "ok" });
}

/** So many requests, a few at a time. */
async function burst(requests: number): Promise<void> {
  const body = requestOf({
    x: elements(
      "FP32",
      [2, 16],
      Array.from({ length: 32 }, (_, i) => i),
    ),
  });
  const lane = async (): Promise<void> => {
    for (let i = 0; i < requests / 8; i++) {
      const { status, text } = await post(`${system.url}/v2/models/perceptron/infer`, body);
      if (status !== 200) throw new Error(text);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
}

test("what a second shows is what /metrics tells of that second", async () => {
  let before: MetricSample[] | undefined;
  let beforeS = 0;
  let compared = 0;
  const apart: string[] = [];
  for await (const { at, now } of seconds("?model=perceptron")) {
    const after = await readMetrics(admin);
    const count = (samples: readonly MetricSample[]): number => sumOf(samples, `${DURATION}_count`, { outcome: "ok" });
    // Only where nothing came between the sample and the scrape do both tell of the same second.
    const isAtRest = now.totals[0] === count(after);
    const requests = before === undefined ? 0 : count(after) - count(before);
    if (isAtRest && before !== undefined && requests > 0) {
      const shown = Object.fromEntries(Object.entries(at).map(([column, value]) => [column, value ?? Number.NaN]));
      for (const [column, q] of [
        ["p50", 0.5],
        ["p95", 0.95],
        ["p99", 0.99],
      ] as const)
        apart.push(compare(column, [shown[column]!, quantileOf(before, after, q)]));
      for (const stage of ["broker_queue", "batch_wait", "compute", "network"]) {
        const labels = { model: "perceptron", stage };
        expect(sumOf(after, `${STAGE}_sum`, labels), `${stage} since the start`).toBeGreaterThan(0);
        const sum = sumOf(after, `${STAGE}_sum`, labels) - sumOf(before, `${STAGE}_sum`, labels);
        apart.push(compare(stage, [shown[stage]!, (1000 * sum) / requests]));
      }
      expectRate(shown["ok"]!, shown["at"]! - beforeS, requests);
      const ofModel = { model: "perceptron" };
      const busyS = ([from, to]: readonly (readonly MetricSample[])[]): number =>
        sumOf(to!, "millrace_broker_busy_seconds_total", ofModel) -
        sumOf(from!, "millrace_broker_busy_seconds_total", ofModel);
      expect(sumOf(after, "millrace_broker_busy_seconds_total", ofModel)).toBeGreaterThan(0);
      apart.push(compare("busy", [shown["busy"]! / shown["ok"]!, busyS([before, after]) / requests]));
      expect(shown["slots"]).toBe(sumOf(after, "millrace_broker_model_slots", ofModel));
      compared++;
    }
    before = isAtRest ? after : undefined;
    beforeS = at["at"] ?? 0;
    if (compared === 4) break;
    if (isAtRest) await burst(160);
  }
  console.log(`the page beside /metrics: ${apart.join(", ")}`);
});

test("under load the page and /metrics count the same requests", async () => {
  const pools = [{ model: "perceptron", path: modelPath, rows: 200, seed: 1 }];
  await using load = await startLoad({
    urls: system.urls,
    connections: 16,
    requests: Number.MAX_SAFE_INTEGER,
    pools,
    seed: 2,
    prebuilt: 100,
    checkEvery: 10,
  });
  await load.progressed(({ answers }) => answers > 500);
  let read = { count: await countOk(), atS: Date.now() / 1000 };
  let last: { readonly total: number; readonly atS: number } | undefined;
  let [taken, stopped] = [0, false];
  const first = read.count;
  for await (const { at, now } of seconds()) {
    const [total, atS] = [now.totals[0] ?? 0, at["at"] ?? 0];
    if (last !== undefined) expectRate(at["ok"] ?? 0, atS - last.atS, total - last.total);
    last = { total, atS };
    // Only a sample that was taken behind the last look is between that and the next.
    if (atS - SPAN_ROUNDING_S / 2 <= read.atS) continue;
    const before = read.count;
    read = { count: await countOk(), atS: Date.now() / 1000 };
    expect(total).toBeGreaterThanOrEqual(before);
    expect(total).toBeLessThanOrEqual(read.count);
    if (stopped) {
      expect([total, before]).toEqual([read.count, read.count]);
      break;
    }
    if (++taken < 10) continue;
    assertAllRight(await load.stop());
    stopped = true;
    read = { count: await countOk(), atS: Date.now() / 1000 };
  }
  console.log(`the page and /metrics agree on ${read.count - first} requests`);
});

test("a page that is opened now shows what was, at once", async () => {
  for await (const { event, data } of readEventStream(`${admin}/dashboard/events`)) {
    const { columns, history, now } = data as Start;
    expect(event).toBe("start");
    const ok = history[columns.indexOf("ok")] ?? [];
    expect(ok.length).toBeGreaterThan(10);
    const at = history[columns.indexOf("at")] ?? [];
    // A sample that was late stands for more than a second.
    const counts = ok.map((rate, i) => (rate ?? 0) * ((at[i] ?? 0) - (at[i - 1] ?? (at[i] ?? 0) - 1)));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0.9 * (now.totals[0] ?? Infinity));
    break;
  }
});

test(
  "a killed worker turns up in the table and the log within three seconds, and so does the one that follows",
  DISTURBED,
  async () => {
    let killedMs = 0;
    let firstId = "";
    const seen: string[] = [];
    const watch = async (): Promise<void> => {
      for await (const { now, log } of seconds()) {
        seen.push(...log.map(({ what, detail }) => `${what} ${detail}`));
        const rows = now.table.filter(({ name }) => name === "worker-2");
        if (killedMs === 0) {
          firstId = rows.find(({ state }) => state === "active")?.id ?? "";
          if (firstId === "") continue;
          system.kill("worker-2");
          killedMs = performance.now();
        } else if (rows.some(({ id, state }) => id === firstId && state === "lost")) return;
      }
    };
    await within(30_000, "the worker is lost", watch());
    const seenMs = performance.now() - killedMs;
    console.log(`the killed worker was seen after ${Math.round(seenMs)} ms`);
    expect(seenMs).toBeLessThan(SEEN_WITHIN_MS);
    expect(seen.join("\n")).toContain("Worker lost worker-2");
    const back = async (): Promise<void> => {
      for await (const { now } of seconds())
        if (now.table.some(({ id, name, state }) => name === "worker-2" && id !== firstId && state === "active"))
          return;
    };
    await within(20_000, "the worker is back", back());
  },
);
