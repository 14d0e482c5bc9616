import { expect, test } from "vitest";
import { Incidents, type Observation } from "./incidents.ts";

const QUIET: Observation = { model: "digits", workers: 1, shed: 0, expired: 0, error: 0 };

function story(seconds: readonly (readonly Observation[])[]): string[] {
  const incidents = new Incidents();
  return seconds.flatMap((observations, at) =>
    incidents.observe(observations, at).map(({ level, what, detail }) => `${at} ${level} ${what}: ${detail}`),
  );
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
