import { expect, test } from "vitest";
import { cell, limitTable, OURS, ratioOf, runRateText, workloadTable } from "./report-tables.ts";
import { replaceBetweenMarks } from "./report-marks.ts";
import type { Measurement, Results } from "./results.ts";

function measurement(side: string, round: number, perSecond: number): Measurement {
  return {
    workload: "w",
    side,
    round,
    answers: 1,
    elapsedMs: 1,
    perSecond,
    cpuUs: 40,
    cpuUsByProcess: {},
    loadCpuUs: 5,
    memoryMb: 100,
    latencyMs: { p50: 1, p99: 2.5, p999: 10 },
    checked: 1,
    ...(side === OURS ? { meanBatchRows: 7 } : {}),
  };
}

const measurements = [
  measurement(OURS, 0, 200),
  measurement("peer", 0, 100),
  measurement(OURS, 1, 60),
  measurement("peer", 1, 60),
  measurement(OURS, 2, 300),
  measurement("peer", 3, 1),
];

test("ratios are of the same round, and rounds that lack one of the two do not count", () => {
  expect(ratioOf(measurements, OURS, "peer")).toEqual({ median: 1.5, min: 1, max: 2 });
  expect(ratioOf(measurements, "peer", "nobody")).toBeUndefined();
});

test("a cell holds the median and the range", () => {
  expect(cell({ median: 1234.5, min: 12.34, max: 20_000 })).toBe("1,235 (12.3–20,000)");
  expect(cell({ median: 0.123, min: 0.123, max: 0.123 })).toBe("0.12");
});

test("the table of a closed loop", () => {
  const shape = { kind: "closed", connections: 4 } as const;
  const sides = [OURS, "peer"].map((name) => ({ name, settings: "", advice: "" }));
  const results = { measurements, sides } as unknown as Results;
  expect(workloadTable({ name: "w", title: "", shape }, results).split("\n")).toEqual([
    "| side | answers/s | p50 ms | p99 ms | p99.9 ms | CPU µs | memory MB | rows a run | Millrace ÷ it |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    `| ${OURS} | 200 (60–300) | 1 | 2.5 | 10 | 40 | 100 | 7 |  |`,
    "| peer | 60 (1–100) | 1 | 2.5 | 10 | 40 | 100 |  | 1.5 (1–2) |",
  ]);
});

test("how fast runs are: by the clock, and by the processor time of the slot's thread where that was read", () => {
  const run = { ...measurement(OURS, 0, 1), runRowsPerSecond: 900 };
  expect(runRateText([measurement(OURS, 0, 1)], OURS)).toBe("");
  expect(runRateText([run], OURS)).toBe("While its worker ran the model, it ran 900 rows a second.");
  expect(
    runRateText(
      [
        { ...run, runRowsPerCpuSecond: 1000 },
        { ...run, side: "peer" },
      ],
      OURS,
    ),
  ).toBe(
    "While its worker ran the model, it ran 900 rows a second, and 1,000 in each second that its slot's thread had a core.",
  );
});

test("limits are grouped by what they are of", () => {
  const one = (what: string, round: number, value: number) => ({ limit: "l", what, round, value, unit: "rows/s" });
  expect(limitTable([one("a", 0, 1), one("b", 0, 5), one("a", 1, 3)])).toBe(
    "|  | rows/s |\n|---|---:|\n| a | 2 (1–3) |\n| b | 5 |",
  );
});

test("a report replaces what stands between its marks, and nothing else", () => {
  const [begin, end] = ["<!-- bench/report.ts writes from here -->", "<!-- to here -->"];
  expect(replaceBetweenMarks(`a\n${begin}\nold\n${end}\nb`, "new", "bench/report.ts")).toBe(
    `a\n${begin}\n\nnew\n\n${end}\nb`,
  );
  expect(() => replaceBetweenMarks(`${end} ${begin}`, "new", "bench/report.ts")).toThrow("marks");
});
