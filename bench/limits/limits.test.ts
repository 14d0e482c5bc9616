import { expect, test } from "vitest";
import { toPostBytes } from "../../tests/support/load-generator.ts";
import { RawConnection } from "../../tests/support/raw-connection.ts";
import { StartedProcess } from "../../tests/support/started-process.ts";
import { measureBroker, pausesOf } from "./broker.ts";

test.each([["http"], ["http", "parse"], ["hono"], ["hono", "parse"]])(
  "the echo server answers: %s %s",
  async (...mode) => {
    await using server = new StartedProcess({ argv: ["bench/limits/echo-server.ts", ...mode] });
    const { http = "" } = await server.ready;
    using connection = new RawConnection(http);
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }] });
    await connection.write(toPostBytes("/v2/models/any/infer", body));
    const { status, body: answer } = await connection.answer();
    expect(status).toBe(200);
    expect(JSON.parse(answer)).toMatchObject({ outputs: [{ datatype: "FP32", shape: [1, 10] }] });
  },
);

test.each([true, false])("requests go round through the broker alone, coalesced: %s", async (isCoalesced) => {
  const { value, cpuUs } = await measureBroker({ bytes: 256, window: 16, isCoalesced }, 300);
  expect(value).toBeGreaterThan(10);
  expect(cpuUs).toBeGreaterThan(0);
});

test("at a rate, as many go round as are due, and each is timed", async () => {
  const run = { bytes: 256, window: 16, isCoalesced: true, ratePerSecond: 500 };
  const { value, latencyMs } = await measureBroker(run, 1_000);
  expect(value).toBeGreaterThan(350);
  expect(value).toBeLessThan(650);
  expect(latencyMs.p50).toBeGreaterThan(0);
});

test("pauses are read from what node traces", () => {
  const lines = [
    "[13:0x7f] 1234 ms: Scavenge 5.1 (6.2) -> 4.4 (7.2) MB, pooled: 0 MB, 1.05 / 0.00 ms  (average mu = 1.000) allocation failure;",
    "[13:0x7f] 2345 ms: Mark-Compact 30.1 (36.2) -> 14.4 (37.2) MB, pooled: 0 MB, 12.50 / 0.10 ms  (+ 3 ms in 10 steps)",
    "a line of the log",
  ];
  expect(pausesOf(lines)).toEqual([1.05, 12.5]);
});
