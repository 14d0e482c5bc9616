import type { GatewaySession } from "../sessions/gateway-session.ts";
import type { ModelVersion } from "../models/model-version.ts";

/** What the broker has of one model version, now. */
export type ModelLoad = {
  /** Requests that wait. */
  queued: number;
  /** Requests that a worker has. */
  inFlight: number;
  /** Since when the one that has waited longest waits, in ms; Infinity where none waits. */
  oldestMs: number;
};

/**
 * Counts every request that has not ended. O(requests), some 10 ns each: for those who ask once a second, so that requests
 * need not keep the count themselves.
 */
export function surveyLoad(gateways: Iterable<GatewaySession>): ReadonlyMap<ModelVersion, ModelLoad> {
  const loads = new Map<ModelVersion, ModelLoad>();
  for (const { requests } of gateways) {
    for (const request of requests.values()) {
      let load = loads.get(request.model);
      if (load === undefined) loads.set(request.model, (load = { queued: 0, inFlight: 0, oldestMs: Infinity }));
      if (request.state === "queued") {
        load.queued++;
        if (request.sinceMs < load.oldestMs) load.oldestMs = request.sinceMs;
      } else load.inFlight++;
    }
  }
  return loads;
}
