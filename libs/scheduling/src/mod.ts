/** The pure scheduling policy: what waits, how long a batch takes, what leaves next, and when. No I/O, no clock. */
export { type Backdrop, type DoorView, finishBehind, type Lateness, latenessOf, type SlotGroup } from "./admission.ts";
export { ArrivalRate, RATE_WINDOW_MS } from "./arrival-rate.ts";
export { Backlog, CLASS_WEIGHTS_DEFAULT, type Classed } from "./backlog.ts";
export { type Batchable, type BatchLimits, takeBatch } from "./batch.ts";
export {
  type BatchPlan,
  type BatchReason,
  type BatchView,
  type ExplainedPlan,
  feasibleRows,
  type HoldEnd,
  planBatch,
  PROBE_AFTER_MS,
  type ShedReason,
  type SizeBound,
  sustainableRows,
  targetRows,
} from "./batch-plan.ts";
export { type Bucketed, BucketQueue } from "./bucket-queue.ts";
export { BusyShare } from "./busy-share.ts";
export { ClassShares } from "./class-shares.ts";
export { Codel, patienceMsOf, staleOf } from "./codel.ts";
export { Curve, CURVE_SAMPLES, type CurvePoint, type Line, type Prediction } from "./curve.ts";
export {
  type CurveOwner,
  type CurvePage,
  curvePage,
  CurvePageError,
  type KeptCurve,
  parseCurvePage,
} from "./curve-page.ts";
export { EdfQueue, type Queued } from "./edf-queue.ts";
export { FairShare } from "./fair-share.ts";
export { fillRowsMax } from "./fill.ts";
export { type Account, type Accounted, ACCOUNTS_MAX, entriesToYield, TenantShares } from "./tenant-shares.ts";
export { LateMargin } from "./late-margin.ts";
export { isDue, lateAtMs, type RunningBatch, sendAtMs, TIMER_GRAIN_MS } from "./late-binding.ts";
