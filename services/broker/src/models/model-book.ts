import { compareVersions, encodeMessage, LIMITS, type MessageOf, type ModelDescription } from "@millrace/protocol";
import { type CurvePage, curvePage, type KeptCurve } from "@millrace/scheduling";
import { ModelVersion, type Weights } from "./model-version.ts";
import type { WorkerSession } from "../sessions/worker-session.ts";

/** Bytes of all descriptions together: ROUTES has to fit the header of one message. */
const DESCRIPTION_BYTES_MAX = LIMITS.headerBytes / 2;

type Entry = { readonly version: ModelVersion; readonly name: string; bytes: number };

/**
 * The model versions that workers have announced, and what gateways are told of them. A version outlives its workers; when the
 * book is full, the oldest that nobody serves or waits for makes room.
 */
export class ModelBook {
  readonly #byRoute = new Map<number, Entry>();
  readonly #byName = new Map<string, Entry>();
  readonly #weights: Weights | undefined;
  /** Curves that were measured before, by kind of worker. */
  readonly #kept: ReadonlyMap<string, readonly KeptCurve[]>;
  #bytes = 0;
  #routes = 0;
  #revision = 0;

  /** `weights`: of every version. `kept`: curves that were measured before, of any kind of worker. */
  constructor(weights?: Weights, kept: readonly KeptCurve[] = []) {
    this.#weights = weights;
    this.#kept = Map.groupBy(kept, ({ fingerprint }) => fingerprint);
  }

  /** All versions, the oldest first. */
  get all(): readonly ModelVersion[] {
    return [...this.#byRoute.values()].map(({ version }) => version);
  }

  /** Slots of all workers that serve something. O(workers and versions). */
  slots(): number {
    const workers = new Set<WorkerSession>();
    for (const { version } of this.#byRoute.values()) for (const worker of version.workers) workers.add(worker);
    let slots = 0;
    for (const worker of workers) slots += worker.slots.length;
    return slots;
  }

  byRoute(route: number): ModelVersion | undefined {
    return this.#byRoute.get(route)?.version;
  }

  /** A version by its name; without one the default of the model: the highest that is served, else the highest. O(versions). */
  find(name: string, version?: string): ModelVersion | undefined {
    if (version !== undefined) return this.#byName.get(nameOf({ name, version }))?.version;
    let best: ModelVersion | undefined;
    for (const one of this.all) {
      if (one.description.name === name && (best === undefined || isBetterDefault(one, best))) best = one;
    }
    return best;
  }

  /**
   * Takes a worker's list in place of its previous one. A ready worker's description counts; a failed one is shown only while
   * no worker serves the version. Returns how many entries were left out: they make no sense, or the book is full.
   */
  announce(worker: WorkerSession, models: MessageOf<"MODELS">["models"]): number {
    this.withdraw(worker);
    let leftOut = 0;
    for (const entry of models) {
      const { model } = entry;
      const isReady = model.state === "ready";
      const known = this.#byName.get(nameOf(model));
      // A version that others serve is not described anew by a worker that cannot.
      if (!isReady && known !== undefined && known.version.workers.size > 0) continue;
      const isSense = !isReady || (model.maxBatchSize >= 1 && entry.slots.every((slot) => slot < worker.slots.length));
      const version = isSense ? this.#describe(known, model) : undefined;
      if (version === undefined) leftOut++;
      else if (isReady) {
        version.join(worker, entry);
        for (const { bucket, points } of this.#kept.get(entry.fingerprint) ?? [])
          version.curve(bucket, entry.fingerprint).seed(points);
        worker.models.set(version, entry);
      }
    }
    return leftOut;
  }

  /** The worker serves nothing any more. */
  withdraw(worker: WorkerSession): void {
    for (const version of worker.models.keys()) version.leave(worker);
    worker.models.clear();
  }

  /** The message that tells a gateway all of this. */
  routes(): MessageOf<"ROUTES"> {
    const { all } = this;
    const defaults = new Map<string, ModelVersion>();
    for (const version of all) {
      const best = defaults.get(version.description.name);
      if (best === undefined || isBetterDefault(version, best)) defaults.set(version.description.name, version);
    }
    return {
      command: "ROUTES",
      revision: ++this.#revision,
      models: all.map((version) => ({
        route: version.route,
        workers: version.workers.size,
        isDefault: defaults.get(version.description.name) === version,
        model: version.description,
      })),
    };
  }

  /** What the admin port shows: who serves what, what waits, and the measured curves. */
  describe(): unknown {
    return this.all.map((version) => ({
      name: version.description.name,
      version: version.description.version,
      state: version.description.state,
      reason: version.description.reason,
      workers: [...version.workers].map((worker) => worker.instance),
      queued_rows: version.queuedRows,
      margin_ms: version.lateMargin.ms,
      curves: Array.from(version.curves(), ({ bucket, fingerprint, curve }) => ({
        bucket,
        fingerprint,
        points: curve.points(),
      })),
    }));
  }

  /** Every curve, for the admin port; it can be kept as a file and given to a broker or worker. */
  curves(): CurvePage {
    return curvePage(this.all.flatMap((version) => [...version.curves()]));
  }

  /** Notes what a version is now; undefined if the book has no room for it. */
  #describe(known: Entry | undefined, description: ModelDescription): ModelVersion | undefined {
    const bytes = bytesOf(description);
    if (!this.#makeRoom(known, bytes)) return undefined;
    this.#bytes += bytes - (known?.bytes ?? 0);
    if (known !== undefined) {
      known.bytes = bytes;
      known.version.description = description;
      return known.version;
    }
    const entry = {
      version: new ModelVersion(this.#routes++, description, this.#weights),
      name: nameOf(description),
      bytes,
    };
    this.#byRoute.set(entry.version.route, entry);
    this.#byName.set(entry.name, entry);
    return entry.version;
  }

  #makeRoom(known: Entry | undefined, bytes: number): boolean {
    const fits = (): boolean =>
      this.#bytes - (known?.bytes ?? 0) + bytes <= DESCRIPTION_BYTES_MAX &&
      (known !== undefined || this.#byRoute.size < LIMITS.list);
    for (const entry of this.#byRoute.values()) {
      if (fits()) return true;
      if (entry === known || entry.version.workers.size > 0 || entry.version.open > 0) continue;
      this.#byRoute.delete(entry.version.route);
      this.#byName.delete(entry.name);
      this.#bytes -= entry.bytes;
    }
    return fits();
  }
}

function nameOf({ name, version }: Pick<ModelDescription, "name" | "version">): string {
  return JSON.stringify([name, version]);
}

/** What a description takes in ROUTES. */
function bytesOf(model: ModelDescription): number {
  const models = [{ route: 0, workers: 0, isDefault: false, model }];
  const [header] = encodeMessage({ command: "ROUTES", revision: 0, models }, { epoch: "0".repeat(16), seq: 0 });
  return header?.byteLength ?? 0;
}

/** The default is the highest version that is served, else the highest. */
function isBetterDefault(a: ModelVersion, b: ModelVersion): boolean {
  const served = Number(a.workers.size > 0) - Number(b.workers.size > 0);
  return (served || compareVersions(a.description.version, b.description.version)) > 0;
}
