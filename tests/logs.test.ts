import { readFileSync } from "node:fs";
import { join } from "node:path";
import { STAGES } from "@millrace/runtime";
import { expect, onTestFailed, test } from "vitest";
import { until } from "./support/bounded.ts";
import { elements, get, post, requestOf } from "./support/inference-client.ts";
import { mixedModel, writeModels } from "./support/load-models.ts";
import type { OnnxModel } from "./support/onnx-model.ts";
import { postBytes, RawConnection } from "./support/raw-connection.ts";
import { ROOT } from "./support/repository.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { startBroker, startGateway, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type Line = Readonly<Record<string, unknown>>;

/** What the test sends as data, in every form in which a line could repeat it. */
const SECRET = "payload-5e7f0c";
const SECRET_NUMBER = 424_242.5;
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SLOW_MS = 400;

/** Fields that docs/logs.md names; `*` stands for the rest of a name. */
const DOCUMENTED = [...readFileSync(join(ROOT, "docs/logs.md"), "utf8").matchAll(/^\|((?: ?`[^`]+`,?)+) \|/gm)]
  .flatMap(([, cell = ""]) => [...cell.matchAll(/`([^`]+)`/g)])
  .map(([, name = ""]) => name);

/** Fields that every line has. */
const REQUIRED = DOCUMENTED.slice(0, 8);

function isDocumented(name: string): boolean {
  return DOCUMENTED.some((one) => (one.endsWith("*") ? name.startsWith(one.slice(0, -1)) : name === one));
}

function mixedRequest(label: unknown): unknown {
  return requestOf({
    values: elements("FP32", [1, 2], [SECRET_NUMBER, 1]),
    keys: elements("INT64", [1, 2], [1, 2]),
    label: elements("BYTES", [1], [label]),
  });
}

/** Fails in its run where `index` is not 0. */
const PICKY: OnnxModel = {
  name: "picky",
  inputs: [{ name: "index", datatype: "INT64", shape: ["batch"] }],
  outputs: [{ name: "picked", datatype: "FP32", shape: ["batch"] }],
  nodes: [{ op: "Gather", inputs: ["choice", "index"], outputs: ["picked"] }],
  initializers: [{ name: "choice", datatype: "FP32", shape: [1], data: [1] }],
};

test("every line of every role is JSON with documented ECS names, tells of each error, and holds no payload", async () => {
  await using folder = await temporaryFolder();
  await writeModels(folder.path, [mixedModel()]);
  await writeSimulatedModel(folder.path, { name: "slow", runMs: SLOW_MS });
  await using broker = await startBroker();
  const { gateways = "", workers = "" } = broker.addresses;
  await using worker = await startWorker({ broker: workers, models: folder.path });
  await using gateway = await startGateway({ broker: gateways, env: { MILLRACE_ACCESS_LOG_SAMPLE: "1" } });
  const roles = { gateway, broker, worker };
  onTestFailed(() =>
    console.error(
      Object.values(roles)
        .map(({ log }) => log.tail(80))
        .join("\n--\n"),
    ),
  );
  await gateway.log.waitFor(/gateway is ready/);
  const url = gateway.addresses["http"] ?? "";
  const mixed = `${url}/v2/models/mixed/infer`;
  const id = (name: string): Record<string, string> => ({ "x-request-id": name });

  expect(
    (await post(mixed, mixedRequest(SECRET), { ...id("served"), traceparent: `00-${TRACE}-b7ad6b7169203331-01` }))
      .status,
  ).toBe(200);
  expect((await post(mixed, mixedRequest({ [SECRET]: SECRET }), id("wrong-value"))).status).toBe(400);
  expect((await post(mixed, `{"inputs":"${SECRET}`, id("no-json"))).status).toBe(400);
  expect((await post(`${url}/v2/models/nobody/infer`, mixedRequest(SECRET), id("no-model"))).status).toBe(404);
  expect((await post(`${url}/nowhere?data=${SECRET}`, SECRET, id("no-route"))).status).toBe(404);
  expect((await post(`${url}/readyz`, SECRET, id("no-post"))).status).toBe(405);
  const slow = `${url}/v2/models/slow/infer`;
  expect((await post(slow, simulatedRequest(1), { ...id("late"), "x-request-timeout-ms": "50" })).status).toBe(504);
  {
    using gone = new RawConnection(url);
    const [head = ""] = postBytes("/v2/models/slow/infer", simulatedRequest(1), [
      "x-request-id: gone",
      "Expect: 100-continue",
    ]).split("\r\n\r\n");
    await gone.write(`${head}\r\n\r\n`);
    // The gateway has it.
    expect((await gone.answer()).status).toBe(100);
  }
  await gateway.log.waitFor(/"http.request.id":"gone"/);
  for (let i = 0; i < 25; i++) await post(mixed, SECRET, id(`many-${i}`));
  await gateway.log.waitFor(/"labels.omitted":/);

  for (const role of [gateway, worker, broker]) {
    role.signal("SIGTERM");
    expect(await role.awaitExit()).toMatchObject({ code: 0 });
  }
  await until(1_000, "all output", () => Object.values(roles).every(({ log }) => log.count(/"stopped"/) === 1));

  const access = new Map<string, Line>();
  const seen = new Set<string>();
  for (const [role, { log }] of Object.entries(roles)) {
    for (const text of log.lines) {
      const line = JSON.parse(text) as Line;
      for (const name of Object.keys(line)) seen.add(name);
      expect(
        Object.keys(line).filter((name) => !isDocumented(name)),
        text,
      ).toEqual([]);
      expect(
        REQUIRED.filter((name) => typeof line[name] !== "string"),
        text,
      ).toEqual([]);
      // A key twice would be one of them to most readers.
      expect(text.match(/"event.dataset":/g)?.length, text).toBe(1);
      expect(line["service.name"]).toBe(`millrace-${role}`);
      for (const secret of [SECRET, String(SECRET_NUMBER)]) expect(text).not.toContain(secret);
      if (line["event.dataset"] === "millrace.gateway.access") access.set(String(line["http.request.id"]), line);
    }
  }
  const told = ["served", "wrong-value", "no-json", "no-model", "no-route", "no-post", "late", "gone"].map((name) => {
    const line = access.get(name) ?? {};
    const names = ["http.response.status_code", "labels.outcome", "error.code", "labels.model"];
    return [name, ...names.map((field) => line[field])];
  });
  expect(told).toEqual([
    ["served", 200, "ok", undefined, "mixed"],
    ["wrong-value", 400, "invalid", expect.stringMatching(/^invalid_/), "mixed"],
    ["no-json", 400, "invalid", "invalid_json", "mixed"],
    ["no-model", 404, "invalid", "model_not_found", undefined],
    ["no-route", 404, "invalid", "not_found", undefined],
    ["no-post", 405, "invalid", "method_not_allowed", undefined],
    ["late", 504, "expired", "deadline_exceeded", "slow"],
    ["gone", 499, "cancelled", "cancelled", "slow"],
  ]);
  const served = access.get("served") ?? {};
  expect(served).toMatchObject({
    "event.outcome": "success",
    "http.request.method": "POST",
    "url.path": "/v2/models/mixed/infer",
    "trace.id": TRACE,
  });
  const durations = Object.keys(STAGES).map((stage) => Number(served[`millrace.stage.${stage}`]));
  const sum = durations.reduce((all, one) => all + one, 0);
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThanOrEqual(Number(served["event.duration"]));
  // Nothing is documented that is not there; a stack needs a defect.
  expect(DOCUMENTED.filter((name) => !name.endsWith("*") && name !== "error" && !seen.has(name))).toEqual([]);
});

test("a run that fails and a worker that is lost are told with the ids of their requests", async () => {
  await using folder = await temporaryFolder();
  await writeModels(folder.path, [PICKY]);
  await writeSimulatedModel(folder.path, { name: "slow", runMs: 3 * SLOW_MS });
  await using broker = await startBroker();
  const { gateways = "", workers = "" } = broker.addresses;
  await using worker = await startWorker({ broker: workers, models: folder.path });
  await using gateway = await startGateway({ broker: gateways });
  onTestFailed(() => console.error([gateway, broker, worker].map(({ log }) => log.tail(40)).join("\n--\n")));
  await gateway.log.waitFor(/gateway is ready/);
  const url = gateway.addresses["http"] ?? "";
  const beyond = requestOf({ index: elements("INT64", [1], [7]) });
  expect((await post(`${url}/v2/models/picky/infer`, beyond, { "x-request-id": "beyond" })).status).toBe(500);
  expect(JSON.parse(await worker.log.waitFor(/a run failed/))).toMatchObject({
    "http.request.id": "beyond",
    "error.code": "model_error",
    "labels.model": "picky",
    "labels.requests": 1,
  });
  const lost = { "x-request-id": "lost", "x-request-timeout-ms": "5000" };
  const asked = post(`${url}/v2/models/slow/infer`, simulatedRequest(1), lost);
  await until(10_000, "it runs", async () => {
    const { text } = await get(`${broker.addresses["admin"]}/decisions?model=slow`);
    return text.includes('"sent"');
  });
  worker.signal("SIGKILL");
  const again = JSON.parse(await broker.log.waitFor(/requests of a lost worker wait again/)) as Line;
  expect(again).toMatchObject({ "http.request.id": "lost", "labels.model": "slow", "labels.requests": 1 });
  expect((await asked).status).toBe(504);
});
