import { StartedProcess } from "../../tests/support/started-process.ts";
import { buildRowPool } from "../../tests/support/row-pool.ts";
import { rotated } from "../comparison.ts";
import { cpuBetween, readCpu } from "../process-usage.ts";
import type { LimitMeasurement } from "../results.ts";
import { DISTINCT_ROWS, serveModel } from "../workloads.ts";
import { WrkLoad } from "../wrk.ts";
import type { LimitOptions, LimitRow } from "./limits.ts";

const SERVERS = [
  { name: "node:http", argv: ["http"] },
  { name: "node:http, body parsed", argv: ["http", "parse"] },
  { name: "Hono", argv: ["hono"] },
  { name: "Hono, body parsed", argv: ["hono", "parse"] },
] as const;

/** The bodies of two workloads, at as many connections. */
const BODIES = [
  { model: "small", connections: 256 },
  { model: "image", connections: 16 },
] as const;

const WARM_UP_MS = 1_000;

/** The HTTP stack without a model behind it, with the same bodies. */
export const echoLimit: LimitRow = {
  name: "echo",
  title: "servers that only read the body and answer",
  measure: async (options: LimitOptions) => {
    const measurements: LimitMeasurement[] = [];
    for (const body of BODIES) measurements.push(...(await measureBody(body, options)));
    return measurements;
  },
};

async function measureBody(
  { model, connections }: (typeof BODIES)[number],
  { rounds, ms, folder, signal, say }: LimitOptions,
): Promise<LimitMeasurement[]> {
  const measurements: LimitMeasurement[] = [];
  await using stack = new AsyncDisposableStack();
  const { name, file } = await serveModel(model, folder);
  const pool = await buildRowPool({ model: name, path: file, rows: DISTINCT_ROWS[model], seed: 5 });
  const wrk = stack.use(await WrkLoad.prepare(folder, { pool, form: "oip" }));
  const servers = [];
  for (const server of SERVERS) {
    const started = stack.use(new StartedProcess({ argv: ["bench/limits/echo-server.ts", ...server.argv] }));
    const { http = "" } = await started.ready;
    await wrk.run(http, { connections, durationMs: WARM_UP_MS });
    servers.push({ ...server, started, http });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { name: server, started, http } of rotated(servers, round)) {
      signal.throwIfAborted();
      const before = readCpu(started.tree());
      const { answers, elapsedMs } = await wrk.run(http, { connections, durationMs: ms });
      const used = cpuBetween(before, readCpu(started.tree()));
      const cpuUs = (Object.values(used).reduce((sum, one) => sum + one, 0) * 1000) / answers;
      const value = answers / (elapsedMs / 1000);
      const what = `${server}, ${model}, ${connections} connections`;
      measurements.push({ limit: "echo", what, round, value, unit: "answers/s", cpuUs });
      say(`echo  ${round + 1}/${rounds}  ${what}: ${Math.round(value)}/s, ${cpuUs.toFixed(1)} µs CPU`);
    }
  }
  return measurements;
}
