import type { StageDurations } from "../broker/inference.ts";

/** The stages that the gateway itself measures, in milliseconds. */
export type GatewayDurations = {
  readonly parseMs: number;
  readonly preprocessMs: number;
  readonly postprocessMs: number;
  readonly encodeMs: number;
};

/** ".001" to ".999" without trailing zeros, and "" for 0: a table, because number formatting would cost more than all else here. */
const THOUSANDTHS = Array.from({ length: 1000 }, (_, i) =>
  i === 0 ? "" : `.${String(i).padStart(3, "0").replace(/0+$/, "")}`,
);

/** Milliseconds with at most three decimals, such as "0.123"; what clocks cannot mean (negative, NaN) becomes "0". */
export function msText(ms: number): string {
  const micros = Math.round(ms * 1000);
  if (!(micros > 0)) return "0";
  return Math.floor(micros / 1000) + THOUSANDTHS[micros % 1000]!;
}

/**
 * The value of the `Server-Timing` header: every stage in the order of `STAGES`, and the run that served the request, if one
 * did. Source: https://www.w3.org/TR/server-timing/.
 */
export function serverTiming(
  own: GatewayDurations,
  stages: StageDurations,
  run?: { readonly batchRows: number; readonly worker: string },
): string {
  const text =
    `parse;dur=${msText(own.parseMs)}, preprocess;dur=${msText(own.preprocessMs)}` +
    `, gateway_queue;dur=${msText(stages.gatewayQueueMs)}, broker_queue;dur=${msText(stages.brokerQueueMs)}` +
    `, batch_wait;dur=${msText(stages.batchWaitMs)}, compute;dur=${msText(stages.computeMs)}` +
    `, postprocess;dur=${msText(own.postprocessMs)}, retry;dur=${msText(stages.retryMs)}` +
    `, network;dur=${msText(stages.networkMs)}, encode;dur=${msText(own.encodeMs)}`;
  return run === undefined ? text : `${text}, batch;desc="${run.batchRows}", worker;desc="${headerSafe(run.worker)}"`;
}

/** A worker names itself: only what a quoted string of a header may hold is let through. */
function headerSafe(name: string): string {
  return /^[\w.:-]*$/.test(name) ? name : name.replace(/[^\w.:-]/g, "_");
}
