import { compareVersions, type ModelDescription, type ModelTotals } from "@millrace/protocol";
import { sendRefusal } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Inference } from "../broker/inference.ts";
import { findModel } from "./model-choice.ts";
import { Refusal } from "../http/refusal.ts";

/**
 * `GET /v2/models/stats` (`at` undefined) and `GET /v2/models/{m}[/versions/{v}]/stats`: what all brokers have counted, the same at
 * every gateway; it only grows. 404 for a model that is not known.
 * Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md.
 */
export function sendStatistics(
  exchange: Exchange,
  inference: Inference,
  at: { readonly name: string; readonly version: string } | undefined,
): void {
  const known = at === undefined ? undefined : findModel(inference, at.name, at.version);
  if (known instanceof Refusal) return sendRefusal(exchange, known);
  inference.readTotals((totals) => {
    const models = inference.models
      .list()
      .map(({ model }) => model)
      .filter(({ name, version }) => at === undefined || (name === at.name && ["", version].includes(at.version)))
      .toSorted((a, b) => compareNames(a.name, b.name) || compareVersions(a.version, b.version));
    const stats = models.map((model) => statisticsOf(model, totals));
    exchange.send(200, [], JSON.stringify({ model_stats: stats }));
  });
}

function compareNames(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

type Duration = { readonly count: number; readonly ns: number };

const NEVER: Duration = { count: 0, ns: 0 };

const NS_PER_US = 1000;

function statisticsOf({ name, version }: ModelDescription, totals: readonly ModelTotals[]): object {
  const of = totals.find((one) => one.model === name && one.version === version);
  const duration = (count = 0, us = 0): Duration => ({ count, ns: us * NS_PER_US });
  return {
    name,
    version,
    last_inference: of === undefined || of.batches === 0 ? 0 : of.lastMs,
    inference_count: of?.rows ?? 0,
    execution_count: of?.batches ?? 0,
    inference_stats: {
      success: duration(of?.requests, of?.requestUs),
      fail: duration(of?.failures, of?.failureUs),
      queue: duration(of?.requests, of?.queueUs),
      compute_input: duration(of?.requests, of?.inputUs),
      compute_infer: duration(of?.requests, of?.computeUs),
      compute_output: duration(of?.requests, of?.outputUs),
      cache_hit: NEVER,
      cache_miss: NEVER,
    },
    batch_stats: [],
  };
}
