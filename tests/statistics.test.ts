import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFailed, test } from "vitest";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { assertAllRight, runCheckedLoad } from "./support/load.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type Duration = { readonly count: number; readonly ns: number };
type ModelStatistics = {
  readonly version: string;
  readonly last_inference: number;
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<Record<string, Duration>>;
};

const REQUESTS = 300;

/** How long a broker that is back may take to hear of what its predecessor had counted. */
const RETURN_MS = 20_000;

/** What does not add up: a count that fell from one reading to the next. */
function fallen(before: ModelStatistics, after: ModelStatistics): string[] {
  const numbers = ({ inference_count, execution_count, inference_stats }: ModelStatistics) => ({
    inference_count,
    execution_count,
    ...Object.fromEntries(
      Object.entries(inference_stats).flatMap(([name, { count, ns }]) => [
        [`${name} count`, count],
        [`${name} ns`, ns],
      ]),
    ),
  });
  const [old, young] = [numbers(before), numbers(after)] as Record<string, number>[];
  return Object.keys(old!).filter((name) => young![name]! < old![name]!);
}

test(
  "statistics count every request once, say the same at every gateway, and survive a broker that is killed",
  { timeout: 120_000 },
  async () => {
    await using folder = await temporaryFolder();
    const model = perceptronModel();
    const [path = ""] = await writeModels(folder.path, [model]);
    await using system = await DevSystem.start({
      models: folder.path,
      gateways: 2,
      args: ["--threads", "1"],
      readyTimeoutMs: 60_000,
    });
    onTestFailed(() => console.error(system.process.log.tail(100)));
    let seen: ModelStatistics | undefined;
    const read = async (url: string): Promise<ModelStatistics> => {
      const response = await fetch(`${url}/v2/models/${model.name}/stats`);
      expect(response.status).toBe(200);
      const [stats] = ((await response.json()) as { model_stats: ModelStatistics[] }).model_stats;
      if (seen !== undefined) expect(fallen(seen, stats!)).toEqual([]);
      return (seen = stats!);
    };
    const [one = "", two = ""] = system.urls;
    expect((await read(one)).inference_count).toBe(0);
    const load = async (seed: number): Promise<number> => {
      const pools = [{ model: model.name, path, rows: 50, seed: 1 }];
      const report = await runCheckedLoad({ urls: system.urls, connections: 8, requests: REQUESTS, pools, seed });
      assertAllRight(report);
      return report.answers;
    };
    let answers = await load(1);
    for (const url of [one, two, one]) {
      const { inference_stats: stats, ...counts } = await read(url);
      expect([url, stats.success?.count, stats.fail]).toEqual([url, answers, { count: 0, ns: 0 }]);
      expect(counts.inference_count).toBeGreaterThanOrEqual(answers);
      expect(counts.execution_count).toBeLessThanOrEqual(answers);
      expect(Math.abs(Date.now() - counts.last_inference)).toBeLessThan(60_000);
      const parts = ["queue", "compute_input", "compute_infer", "compute_output"].map((name) => stats[name]!);
      expect(parts.map(({ count }) => count)).toEqual(parts.map(() => answers));
      const sum = parts.reduce((ns, part) => ns + part.ns, 0);
      // Each part is rounded to microseconds, and where clocks disagree the last one is 0.
      expect(sum).toBeGreaterThanOrEqual(stats.success!.ns - 4_000);
    }
    await system.kill("broker-1").back;
    const deadlineMs = performance.now() + RETURN_MS;
    // Gateways come back one by one; what one of them tells is never less than what another has told.
    while ((await read(one)).inference_stats.success!.count < answers && performance.now() < deadlineMs)
      await sleep(20);
    for (const url of [one, two, one, two]) expect((await read(url)).inference_stats.success?.count).toBe(answers);
    answers += await load(2);
    for (const url of [two, one]) expect((await read(url)).inference_stats.success?.count).toBe(answers);
    await system.stop();
  },
);
