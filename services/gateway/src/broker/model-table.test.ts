import type { ModelDescription } from "@millrace/protocol";
import { expect, test } from "vitest";
import { RouteTable } from "./model-table.ts";

function model(name: string, version = "1"): ModelDescription {
  const about = {
    state: "ready",
    reason: "",
    platform: "simulated",
    digest: "",
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    maxRequestRows: 8,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
  } as const;
  return { name, version, ...about, batching: true, maxBatchSize: 8, inputs: [], outputs: [] };
}
const route = (name: string, more: { route: number; workers?: number; version?: string; isDefault?: boolean }) => ({
  route: more.route,
  workers: more.workers ?? 1,
  isDefault: more.isDefault ?? true,
  model: model(name, more.version),
});

test("a request goes to the route of its name and version, also after a new list", () => {
  const table = new RouteTable();
  table.replace([route("a", { route: 0, isDefault: false }), route("a", { route: 1, version: "2" })]);
  const found = table.find("a");
  expect(found?.model.version).toBe("2");
  expect(table.find("a", "1")?.destination).toBe(0);
  table.replace([route("a", { route: 7, version: "2" })]);
  expect(table.destinationOf(found!.model)).toBe(7);
  expect(table.find("a", "1")).toBeUndefined();
});

test("models of a lost broker stay known and their requests wait, until its successor serves them or has had its time", () => {
  const table = new RouteTable();
  table.replace([route("a", { route: 0 }), route("b", { route: 1 })]);
  const [a, b] = [table.find("a")!.model, table.find("b")!.model];
  table.remember();
  expect([table.find("a")?.workers, table.destinationOf(a)]).toEqual([1, "later"]);
  // The successor knows nobody yet, then a worker that is still loading, then one that serves.
  table.replace([]);
  expect(table.destinationOf(a)).toBe("later");
  table.replace([route("a", { route: 4, workers: 0 })]);
  expect([table.destinationOf(a), table.list().length]).toEqual(["later", 2]);
  table.replace([route("a", { route: 4 })]);
  expect([table.destinationOf(a), table.destinationOf(b)]).toEqual([4, "later"]);
  table.settle();
  expect([table.destinationOf(a), table.destinationOf(b)]).toEqual([4, undefined]);
});

test("a model that nobody served is not remembered", () => {
  const table = new RouteTable();
  table.replace([route("a", { route: 0, workers: 0 })]);
  table.remember();
  expect(table.find("a")).toBeUndefined();
});
