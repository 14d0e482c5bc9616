/**
 * The stages of a request: the one vocabulary of metric labels, `Server-Timing`, log fields and span names.
 * Each row says from where to where the stage lasts. Durations are in milliseconds inside a process.
 */
export const STAGES = {
  parse: "first body byte → request validated",
  preprocess: "feature look-ups and hooks before the model",
  gateway_queue: "validated → handed to the transport",
  broker_queue: "received by the broker → dispatched",
  batch_wait: "received by the worker → run starts",
  compute: "model run",
  postprocess: "hooks after the model that shape the answer",
  retry: "time spent in attempts that failed",
  network: "all time between processes: the remainder",
  encode: "answer complete → headers written",
} as const;

/** The name of one stage of a request. */
export type Stage = keyof typeof STAGES;

/** Tells whether a name is a stage's. */
export function isStage(name: string): name is Stage {
  return Object.hasOwn(STAGES, name);
}
