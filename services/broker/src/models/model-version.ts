import type { AnnouncedPoint, ModelDescription, WorkerModel } from "@millrace/protocol";
import {
  ArrivalRate,
  Backlog,
  CLASS_WEIGHTS_DEFAULT,
  Codel,
  Curve,
  type CurveOwner,
  type CurvePoint,
  EdfQueue,
  FairShare,
  LateMargin,
  RATE_WINDOW_MS,
  TenantShares,
} from "@millrace/scheduling";
import { DecisionLog } from "../decisions/decision-log.ts";
import { ModelTotals } from "./model-totals.ts";
import type { Request } from "../dispatch/request.ts";
import type { Slot, WorkerSession } from "../sessions/worker-session.ts";

/** Curves kept per model version. Buckets come from clients: the book of curves must not grow without bound. */
const CURVES_MAX = 256;

/** Weight of the newest batch in the moving average of the pace. */
const PACE_WEIGHT = 0.1;

/** Retry-After where nothing better is known, and the most that is asked for, in ms. */
export const RETRY_AFTER_DEFAULT_MS = 1_000;
const RETRY_AFTER_MAX_MS = 60_000;

/** Of the classes, the most urgent first (see `Backlog`), and of tenants by name (see `TenantShares`). */
export type Weights = { readonly classes: readonly number[]; readonly tenants: ReadonlyMap<string, number> };

export const DEFAULT_WEIGHTS: Weights = { classes: CLASS_WEIGHTS_DEFAULT, tenants: new Map() };

type OwnCurve = { readonly bucket: string; readonly fingerprint: string; readonly curve: Curve };

/** One version of a model: who serves it, what waits for it, how fast it is. It outlives its workers. */
export class ModelVersion {
  /** The number that ROUTES gave it; never given to another version. */
  readonly route: number;
  readonly backlog: Backlog<Request>;
  /** Who has had how much, by class. */
  readonly tenants: readonly TenantShares<Request>[];
  /** Whether the queues of its classes stand. */
  readonly codels: readonly Codel[];
  /** Requests that were on a worker that was lost: each waits for a worker of its own. */
  readonly suspects = new EdfQueue<Request>();
  /** How fast rows of new requests come. */
  readonly rate = new ArrivalRate(RATE_WINDOW_MS);
  /** What was decided about its requests of late, and why. */
  readonly decisions = new DecisionLog();
  readonly totals = new ModelTotals();
  /** What its batches have cost beside those of the models that it shares slots with. */
  readonly fairShare = new FairShare();
  /** How much later than planned its batches are back. */
  readonly lateMargin = new LateMargin();
  /** The share of its latest runs that were stalls. */
  stallShare = 0;
  /** When a batch last left. */
  lastDispatchMs = -Infinity;
  /** Its requests that have not ended, queued or dispatched. */
  open = 0;
  /** Ready workers that serve it. */
  readonly #workers = new Set<WorkerSession>();
  /** What each of them says of it. */
  readonly #descriptions = new Map<WorkerSession, ModelDescription>();
  /** Of the workers that have it in some of their slots alone, these. */
  readonly #someSlots = new Map<WorkerSession, readonly Slot[]>();
  #slots = 0;
  /** The least recently used first. */
  readonly #curves = new Map<string, OwnCurve>();
  /** The most recently used: nearly always the one that is asked for. */
  #latest: OwnCurve | undefined;
  #rowMs = 0;
  /** Predicted for the largest batch by the curve that learned last; Infinity before the first. */
  #largestMs = Infinity;

  /** As it was announced last, and with the smallest limits of its workers. */
  #announced: ModelDescription;
  #description: ModelDescription;

  constructor(route: number, description: ModelDescription, weights: Weights = DEFAULT_WEIGHTS) {
    this.route = route;
    this.#announced = this.#description = description;
    this.backlog = new Backlog(description.maxBatchSize, weights.classes);
    this.codels = weights.classes.map(() => new Codel());
    this.tenants = weights.classes.map(() => new TenantShares(weights.tenants));
  }

  /**
   * What was announced last counts, but for the limits of requests and runs: where workers differ in them, which they do while a new
   * manifest is rolled out, the smallest count, as any of them may be sent what is let in.
   */
  get description(): ModelDescription {
    return this.#description;
  }

  set description(description: ModelDescription) {
    this.#announced = description;
    this.#narrow();
  }

  get workers(): ReadonlySet<WorkerSession> {
    return this.#workers;
  }

  /** Slots that can run it, of all workers. */
  get slots(): number {
    return this.#slots;
  }

  /** Slots of a worker that can run it. */
  slotsOf(worker: WorkerSession): readonly Slot[] {
    return this.#someSlots.size === 0 ? worker.slots : (this.#someSlots.get(worker) ?? worker.slots);
  }

  /** Its weight among models that share slots, at least 1. */
  get share(): number {
    return Math.max(1, this.description.share);
  }

  /** Rows that wait. */
  get queuedRows(): number {
    return this.backlog.rows + this.suspects.rows;
  }

  /**
   * A worker serves it from now on, in the slots that the entry names; in all if it names none. What the worker has measured fills in
   * for the sizes that no worker of its kind has run here;
   * samples that are there stay.
   */
  join(worker: WorkerSession, entry: WorkerModel): void {
    this.leave(worker);
    this.#workers.add(worker);
    this.#descriptions.set(worker, entry.model);
    this.#narrow();
    if (entry.slots.length > 0)
      this.#someSlots.set(
        worker,
        worker.slots.filter(({ index }) => entry.slots.includes(index)),
      );
    this.#slots += this.slotsOf(worker).length;
    const buckets = Map.groupBy(entry.curve, ({ bucket }) => bucket);
    for (const [bucket, points] of buckets) this.curve(bucket, entry.fingerprint).seed(points.map(toCurvePoint));
  }

  leave(worker: WorkerSession): void {
    if (!this.#workers.has(worker)) return;
    this.#slots -= this.slotsOf(worker).length;
    this.#workers.delete(worker);
    this.#descriptions.delete(worker);
    this.#someSlots.delete(worker);
    this.#narrow();
  }

  #narrow(): void {
    let { maxBatchSize, maxRequestRows, maxBatchElements } = this.#announced;
    for (const own of this.#descriptions.values()) {
      maxBatchSize = Math.min(maxBatchSize, own.maxBatchSize);
      maxRequestRows = Math.min(maxRequestRows, own.maxRequestRows);
      // 0: none.
      maxBatchElements = Math.min(maxBatchElements || Infinity, own.maxBatchElements || Infinity);
    }
    if (maxBatchElements === Infinity) maxBatchElements = 0;
    this.#description = { ...this.#announced, maxBatchSize, maxRequestRows, maxBatchElements };
    this.backlog.turnRows = maxBatchSize;
  }

  /** The largest batch, and its time in ms by the curve that learned last; Infinity before the first batch. */
  get largestBatch(): { readonly rows: number; readonly ms: number } {
    return { rows: this.#description.maxBatchSize, ms: this.#largestMs };
  }

  /** The curve of a bucket on a kind of worker. */
  curve(bucket: string, fingerprint: string): Curve {
    const latest = this.#latest;
    if (latest?.bucket === bucket && latest.fingerprint === fingerprint) return latest.curve;
    const key = JSON.stringify([fingerprint, bucket]);
    const entry = this.#curves.get(key) ?? { bucket, fingerprint, curve: new Curve() };
    this.#latest = entry;
    this.#curves.delete(key);
    this.#curves.set(key, entry);
    if (this.#curves.size > CURVES_MAX) this.#curves.delete(this.#curves.keys().next().value ?? "");
    return entry.curve;
  }

  /** Every curve, with what it is of. */
  *curves(): Iterable<CurveOwner & { readonly curve: Curve }> {
    const { name: model, version } = this.description;
    for (const entry of this.#curves.values()) yield { model, version, ...entry };
  }

  /**
   * Longer, by far, than a request would wait behind so many rows if the slots had nothing else, in ms: a quick look that spares
   * nearly all requests a closer one. Every slot may have a batch running and one staged. Infinity before the first batch.
   */
  longestWaitMs(aheadRows: number): number {
    return 4 * this.#largestMs * (4 + aheadRows / this.description.maxBatchSize);
  }

  /** Learns the pace from a batch that was answered, and is in its curve already. */
  ran({ rows, curve }: { readonly rows: number; readonly curve: Curve }, computeMs: number): void {
    this.#largestMs = curve.predict(this.description.maxBatchSize)?.q95Ms ?? Infinity;
    const rowMs = computeMs / rows;
    this.#rowMs = this.#rowMs === 0 ? rowMs : this.#rowMs + PACE_WEIGHT * (rowMs - this.#rowMs);
  }

  /** How long what waits now will take at the measured pace, for Retry-After, in whole ms of 1 and up. */
  drainTimeMs(): number {
    if (this.#rowMs === 0 || this.#slots === 0) return RETRY_AFTER_DEFAULT_MS;
    const timeMs = (this.queuedRows * this.#rowMs) / this.#slots;
    return Math.min(RETRY_AFTER_MAX_MS, Math.max(1, Math.ceil(timeMs)));
  }
}

function toCurvePoint({ rows, q50Us, q95Us, samples }: AnnouncedPoint): CurvePoint {
  return { rows, q50Ms: q50Us / 1000, q95Ms: q95Us / 1000, samples };
}
