import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFailed, test } from "vitest";
import type { PartResult, SuiteResults } from "../bench/suite/results.ts";
import { StartedProcess } from "./support/started-process.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** The suite looks at every answer and fails at a wrong one; what is asserted here are counts, never times. */
const ARGV = ["bench/suite/run.ts", "--only", "B3,B5", "--workers", "1,2", "--scale", "0.25"];

test(
  "a share of the scheduler's suite: bursts are answered, overload is shed, and every answer is right",
  { timeout: 600_000 },
  async () => {
    await using folder = await temporaryFolder();
    const into = join(folder.path, "suite.json");
    const run = async (): Promise<{ readonly log: StartedProcess["log"]; readonly parts: readonly PartResult[] }> => {
      await using suite = new StartedProcess({ argv: [...ARGV, "--into", into] });
      onTestFailed(() => console.error(suite.log.tail()));
      const { code, signal } = await suite.awaitExit(280_000);
      expect({ code, signal }).toEqual({ code: suite.log.count(/ s {2}missed /) === 0 ? 0 : 2, signal: null });
      expect(suite.tree()).toEqual([]);
      return { log: suite.log, parts: (JSON.parse(await readFile(into, "utf8")) as SuiteResults).parts };
    };
    const { parts } = await run();
    expect(parts.map(({ name, workers }) => `${name} ${workers}`)).toEqual(["B3 1", "B3 2", "B5 1"]);
    for (const { probes } of parts) {
      expect(probes.length).toBeGreaterThan(0);
      for (const { openLoop, name } of probes) {
        const { attained, late, shed, failed } = openLoop.outcomes;
        expect({ name, ended: attained + late + shed + failed, failed }).toEqual({
          name,
          ended: openLoop.planned,
          failed: 0,
        });
        const { atDoorMs, laterMs, expired } = openLoop.sheds;
        expect(atDoorMs.count + laterMs.count + expired).toBe(shed);
      }
    }
    for (const { openLoop, meanBatchRows } of parts
      .filter(({ name }) => name === "B3")
      .flatMap(({ probes }) => probes)) {
      expect(openLoop.outcomes).toEqual({ attained: 1_000, late: 0, shed: 0, failed: 0 });
      expect(meanBatchRows).toBeGreaterThan(20);
    }
    const over = parts.find(({ name }) => name === "B5")?.probes.find(({ name }) => name === "2 × λ99")?.openLoop;
    // One slot does at most 320 rows a second in time, whatever the machine, and gets more than 400.
    expect((over?.outcomes.attained ?? Infinity) / (over?.planned ?? 1)).toBeLessThan(0.9);
    expect(over?.outcomes.shed).toBeGreaterThan(0);
    const again = await run();
    expect(again.parts).toHaveLength(3);
    expect(again.log.count(/is in the file/)).toBe(3);
  },
);
