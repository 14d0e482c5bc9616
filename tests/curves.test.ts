import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSimulatedModel } from "./support/simulated-model.ts";
import { type RoleProcess, startBroker, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type Page = {
  readonly format: string;
  readonly curves: readonly {
    readonly model: string;
    readonly fingerprint: string;
    readonly points: readonly { readonly rows: number; readonly q50_ms: number; readonly samples: number }[];
  }[];
};

async function curvesOf(process: RoleProcess): Promise<Page> {
  const response = await fetch(`${process.addresses["admin"]}/curves`, { headers: { connection: "close" } });
  expect(response.status).toBe(200);
  return (await response.json()) as Page;
}

/** Whether each model's curve was measured or kept, by the worker's log. */
async function warmthOf(worker: RoleProcess): Promise<string | undefined> {
  const line = await worker.log.waitFor(/model is warm/);
  return /"labels.curve":"(\w+)"/.exec(line)?.[1];
}

test("a worker measures once: what it knows outlives it, warms a broker that starts anew, and can be handed to others", async () => {
  await using folder = await temporaryFolder();
  const [models, curveDir, curvesFile] = ["models", "curves", "curves.json"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await writeSimulatedModel(models, { name: "slow", runMs: 5 });
  await using broker = await startBroker();
  const address = broker.addresses["workers"]!;
  {
    await using worker = await startWorker({ broker: address, models, env: { MILLRACE_CURVE_DIR: curveDir } });
    expect(await warmthOf(worker)).toBe("measured");
    const page = await curvesOf(worker);
    expect(page.curves).toMatchObject([
      { model: "slow", points: [{ rows: 1 }, {}, {}, {}, {}, {}, {}, { rows: 128 }] },
    ]);
    for (const { q50_ms: q50Ms, samples } of page.curves[0]!.points) {
      expect(q50Ms).toBeGreaterThanOrEqual(5);
      expect(samples).toBeGreaterThanOrEqual(10);
    }
    const { fingerprint } = page.curves[0]!;
    await expect.poll(async () => (await curvesOf(broker)).curves).toMatchObject([{ model: "slow", fingerprint }]);
    await writeFile(curvesFile, JSON.stringify(await curvesOf(broker)));
    await worker.stop();
  }
  expect(await readdir(curveDir)).toHaveLength(1);

  await using second = await startBroker();
  await using again = await startWorker({
    broker: second.addresses["workers"]!,
    models,
    env: { MILLRACE_CURVE_DIR: curveDir },
  });
  expect(await warmthOf(again)).toBe("kept");
  const [file = ""] = await readdir(curveDir);
  const kept = JSON.parse(await readFile(join(curveDir, file), "utf8")) as Page;
  expect(await curvesOf(again)).toEqual(kept);
  const rows = kept.curves[0]!.points.map(({ rows }) => ({ rows }));
  await expect.poll(async () => (await curvesOf(second)).curves).toMatchObject([{ model: "slow", points: rows }]);

  await using third = await startWorker({ broker: address, models, env: { MILLRACE_CURVES_FILE: curvesFile } });
  expect(await warmthOf(third)).toBe("kept");
});

test("a curves file that is none ends the process with what is wrong", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "curves.json");
  await writeFile(path, "{}");
  await expect(startBroker({ env: { MILLRACE_CURVES_FILE: path } })).rejects.toThrow(
    /curves file .*curves\.json: does not say "format": "millrace-curves\/1"/,
  );
});
