import { expect, test } from "vitest";
import { toPostBytes } from "../../tests/support/load-generator.ts";
import { RawConnection } from "../../tests/support/raw-connection.ts";
import { StartedProcess } from "../../tests/support/started-process.ts";
import { measureBroker } from "./broker.ts";

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
