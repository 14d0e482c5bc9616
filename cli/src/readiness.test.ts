import { expect, test } from "vitest";
import { judge } from "./readiness.ts";

const READY = { name: "a", version: "1", state: "READY", reason: "" };
const LOADING = { name: "b", version: "2", state: "LOADING", reason: "" };
const FAILED = { name: "c", version: "1", state: "UNAVAILABLE", reason: "not a model" };

test.each([
  { healthStatus: 200, index: [READY, FAILED], kind: "serving", reason: "" },
  { healthStatus: 200, index: [READY, LOADING], kind: "waiting", reason: "loading b/2" },
  { healthStatus: 200, index: [], kind: "stuck", reason: "no model in the repository" },
  { healthStatus: 200, index: undefined, kind: "waiting", reason: "does not answer" },
  { healthStatus: 0, index: undefined, kind: "waiting", reason: "does not answer" },
  { healthStatus: 503, index: [], kind: "stuck", reason: "no model in the repository" },
  { healthStatus: 503, index: [READY, LOADING, FAILED], kind: "waiting", reason: "loading b/2" },
  { healthStatus: 503, index: [READY, FAILED], kind: "waiting", reason: "not ready yet" },
  { healthStatus: 503, index: [FAILED], kind: "stuck", reason: "no model can serve: c: not a model" },
])("health $healthStatus with index $index is $kind", ({ healthStatus, index, kind, reason }) => {
  const verdict = judge({ healthStatus, index });
  expect(verdict.kind).toBe(kind);
  expect(verdict.reason).toContain(reason);
});
