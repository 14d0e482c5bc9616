import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { feastFeatures } from "./feast-features.ts";

/**
 * An answer as Feast's documentation has it (feature-servers/python-feature-server), with the statuses of
 * feast/protos/feast/serving/ServingService.proto.
 */
const ANSWER = {
  metadata: { feature_names: ["driver_id", "conv_rate", "acc_rate"] },
  results: [
    { values: [1001, 1002, 1003], statuses: ["PRESENT", "PRESENT", "PRESENT"], event_timestamps: [] },
    { values: [0.25, null, null], statuses: ["PRESENT", "NULL_VALUE", "NOT_FOUND"], event_timestamps: [] },
    { values: [0.5, 0.75, null], statuses: ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"], event_timestamps: [] },
  ],
};

const bodies: string[] = [];
const headers: unknown[] = [];
let answer: string;
const server = createServer((request, response) => {
  let text = "";
  request.on("data", (chunk) => (text += String(chunk)));
  request.on("end", () => {
    bodies.push(text);
    headers.push([request.url, request.headers["content-type"], request.headers["authorization"]]);
    response.end(answer);
  });
});
let url: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/feast`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const context = { signal: new AbortController().signal, count: (): void => {} };
const FEATURES = ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate"];

test("one request for all entities; values that are not PRESENT are null, entities of which nothing is found undefined", async () => {
  answer = JSON.stringify(ANSWER);
  const drivers = feastFeatures({
    url,
    features: FEATURES,
    entity: "driver_id",
    entityType: "integer",
    headers: { authorization: "Bearer x" },
  });
  expect(await drivers.get(["1001", "1002", "9007199254740993"], context)).toEqual([
    { conv_rate: 0.25, acc_rate: 0.5 },
    { conv_rate: null, acc_rate: null },
    undefined,
  ]);
  expect(bodies.at(-1)).toBe(
    '{"features":["driver_hourly_stats:conv_rate","driver_hourly_stats:acc_rate"],"entities":{"driver_id":[1001,1002,9007199254740993]}}',
  );
  expect(headers.at(-1)).toEqual(["/feast/get-online-features", "application/json", "Bearer x"]);
});

test("ids are texts unless they are said to be integers, and those must be", async () => {
  answer = JSON.stringify(ANSWER);
  await feastFeatures({ url, features: FEATURES, entity: "e" }).get(['a"', "b", "c"], context);
  expect(JSON.parse(bodies.at(-1) ?? "")).toMatchObject({ entities: { e: ['a"', "b", "c"] } });
  const integers = feastFeatures({ url, features: FEATURES, entity: "e", entityType: "integer" });
  await expect(integers.get(["1]}"], context)).rejects.toMatchObject({ name: "LookupFailed" });
});

test.for<[string, string]>([
  ["no JSON", "<html>"],
  ["another object", "{}"],
  ["a feature too few", JSON.stringify({ ...ANSWER, metadata: { feature_names: ["driver_id", "conv_rate"] } })],
  ["a row too few", JSON.stringify({ ...ANSWER, results: ANSWER.results.map((it) => ({ ...it, values: [1] })) })],
])("an answer that is %s fails the look-up", async ([, text]) => {
  answer = text;
  const drivers = feastFeatures({ url, features: FEATURES, entity: "driver_id" });
  await expect(drivers.get(["1", "2", "3"], context)).rejects.toMatchObject({ name: "LookupFailed" });
});

test.for([[], ["conv_rate"], ["a:x", "b:x"]])("features %o are refused", (features) => {
  expect(() => feastFeatures({ url, features, entity: "e" })).toThrow(RangeError);
});
