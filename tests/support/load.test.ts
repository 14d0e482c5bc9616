import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getPriority } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { prepareLoad } from "./load.ts";
import { writeModels } from "./load-models.ts";
import type { LoadPlan } from "./load-plan.ts";
import { simulatedWitness } from "./simulated-model.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A server that answers everything alike, the paths that it was asked for, and a load of it with two requests behind five. */
async function planOf(answer: { readonly status: number; readonly body: string }) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    request.resume();
    response.writeHead(answer.status, { "content-length": answer.body.length }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const folder = await temporaryFolder();
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await folder[Symbol.asyncDispose]();
  });
  const [path = ""] = await writeModels(folder.path, [simulatedWitness("witness")]);
  const poolOf = (model: string) => ({ model, path, rows: 4, seed: 1 });
  const plan: LoadPlan = {
    urls: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`],
    connections: 1,
    requests: 2,
    pools: [poolOf("counts")],
    seed: 1,
    warmUp: { pool: poolOf("warms"), arrivals: { kind: "burst", requests: 5 }, connections: 2 },
  };
  return { plan, asked };
}

test("what warms up goes before and counts for nothing, and nothing else leaves while another load warms up", async () => {
  const { plan, asked } = await planOf({ status: 429, body: "{}" });
  await using load = await prepareLoad(plan);
  expect(asked).toEqual(Array(5).fill("/v2/models/warms/infer"));
  await using _other = await prepareLoad(plan);
  expect(asked).toEqual(Array(10).fill("/v2/models/warms/infer"));
  await load.start();
  const { answers, identity } = await load.report;
  expect(asked.slice(10)).toEqual(Array(2).fill("/v2/models/counts/infer"));
  expect(answers).toBe(2);
  expect(identity).toMatchObject({ requests: 2, statuses: { 429: 2 } });
});

test("a wrong answer counts while it warms up, too", async () => {
  const { plan } = await planOf({ status: 200, body: "{}" });
  await expect(prepareLoad(plan)).rejects.toThrow("wrong before it counts");
});

test("a load runs through the program that it is given", async () => {
  const { plan } = await planOf({ status: 429, body: "{}" });
  await using load = await prepareLoad(plan, { through: ["nice", "-n", "3"] });
  expect(getPriority(load.pid)).toBe(Math.min(19, getPriority() + 3));
});
