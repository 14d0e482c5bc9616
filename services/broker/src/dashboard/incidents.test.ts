import { expect, test } from "vitest";
import { Incidents, type Observation } from "./incidents.ts";

const QUIET: Observation = { model: "digits", workers: 1, shed: 0, expired: 0, error: 0 };

/** What is told of samples that add so many requests, at these seconds or one a second. */
function story(
  samples: readonly (readonly Observation[])[],
  seconds: readonly number[] = samples.map((_, i) => i),
): string[] {
  const incidents = new Incidents();
  const totals = new Map<string, Observation>();
  return samples.flatMap((added, i) => {
    for (const { model, workers, shed, expired, error } of added) {
      const before = totals.get(model) ?? QUIET;
      const total = { shed: before.shed + shed, expired: before.expired + expired, error: before.error + error };
      totals.set(model, { model, workers, ...total });
    }
    const at = seconds[i]!;
    const entries = incidents.observe([...totals.values()], at);
    return entries.map(({ level, what, detail }) => `${at} ${level} ${what}: ${detail}`);
  });
}

test("an incident is told when it begins and when it is over; a pause of a few seconds does not end it", () => {
  const shed = { ...QUIET, shed: 10 };
  const quiet = Array.from({ length: 7 }, () => [QUIET]);
  expect(story([[QUIET], [shed], [shed], [QUIET], [QUIET], [shed], ...quiet])).toEqual([
    "0 good Model is served: digits",
    "1 warn Shedding begins: digits",
    "10 info Shedding ended: digits: 30 requests in 4 s",
  ]);
});

test("a sample that is late counts all that it brings, and the pause behind an incident is no part of it", () => {
  const shed = { ...QUIET, shed: 50 };
  const quiet = Array.from({ length: 5 }, () => [QUIET]);
  expect(story([[shed], [shed], ...quiet], [1, 6, 7, 8, 19, 20, 21])).toEqual([
    "1 good Model is served: digits",
    "1 warn Shedding begins: digits",
    "21 info Shedding ended: digits: 100 requests in 5 s",
  ]);
});

test("a model without a worker is told, and when it is served again", () => {
  const none = { ...QUIET, workers: 0 };
  expect(story([[none], [none], [QUIET], [QUIET], [none]])).toEqual([
    "0 bad No worker serves: digits",
    "2 good Model is served: digits",
    "4 bad No worker serves: digits",
  ]);
});

test("each model and each kind has its own", () => {
  const other = { ...QUIET, model: "faces", error: 1, expired: 2 };
  expect(story([[QUIET, other]])).toEqual([
    "0 good Model is served: digits",
    "0 good Model is served: faces",
    "0 warn Requests expire: faces",
    "0 bad Errors begin: faces",
  ]);
});
