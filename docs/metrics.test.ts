import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Metrics, MetricsPage } from "../libs/runtime/src/mod.ts";
import { METRICS_PAGE, metricsPage, NODE_METRICS } from "./metrics-page.ts";

test("docs/metrics.md is what the tables of metrics say; `make docs` writes it", async () => {
  expect(await readFile(METRICS_PAGE, "utf8")).toBe(metricsPage());
});

test.runIf(process.platform === "linux")("the page names exactly what prom-client brings", async () => {
  const text = await new MetricsPage(new Metrics({})).render();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  expect(types).toEqual(Object.entries(NODE_METRICS).map(([name, [type]]) => [name, type]));
});
