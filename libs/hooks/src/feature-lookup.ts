import type { HookContext } from "./contract.ts";
import { FeatureCache } from "./feature-cache.ts";
import { LookupFailed } from "./refusal.ts";

/** What a store knows of one entity: its features by name. */
export type Features = Readonly<Record<string, unknown>>;

/** What a look-up does when the store fails or is late. */
export type Fallback<Row extends Features> =
  /** The request fails with 503 `lookup_failed`. The default. */
  | "fail"
  /** The cached features count although they are not fresh; where there are none, as `fail`. */
  | "stale"
  /** These count, for whatever is not in the cache. Entities that the store does not know get them, too. */
  | { readonly default: Row };

export type LookupOptions<Row extends Features> = {
  /** Entities whose features are kept, by the one last used: 0 or more; default 10,000. */
  readonly cacheEntriesMax?: number;
  /** How long they are fresh, in milliseconds, 0 or more; default 1,000. */
  readonly cacheTtlMs?: number;
  /** How long the store may take for one look-up, in milliseconds, above 0; default 50. The request's budget holds as well. */
  readonly timeoutMs?: number;
  readonly fallback?: Fallback<Row>;
};

/** Where features come from: those of each entity, in the order of the ids; undefined: the store does not know it. */
export type FeatureStore<Row extends Features> = {
  fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly (Row | undefined)[]>;
  close(): Promise<void>;
};

/** Features of entities by their ids, by way of a cache. */
export type FeatureLookup<Row extends Features> = {
  /**
   * The features of each entity, in the order of the ids; undefined where the store does not know it and there is no default. One
   * round trip for all that are not in the cache.
   *
   * @throws {LookupFailed} where the store fails or is late and the fallback has nothing.
   */
  get(ids: readonly string[], context: Pick<HookContext, "signal" | "count">): Promise<(Row | undefined)[]>;
  /** Ends the connection; a later `get` opens it again. */
  close(): Promise<void>;
};

/**
 * Puts cache, timeout and fallback before a store.
 * @throws {RangeError} for an option that is out of its range.
 */
export function createFeatureLookup<Row extends Features>(
  store: FeatureStore<Row>,
  options: LookupOptions<Row> = {},
): FeatureLookup<Row> {
  const { cacheEntriesMax = 10_000, cacheTtlMs = 1_000, timeoutMs = 50, fallback = "fail" } = options;
  if (!(Number.isInteger(cacheEntriesMax) && cacheEntriesMax >= 0)) throw new RangeError("cacheEntriesMax: 0 or more");
  if (!(cacheTtlMs >= 0)) throw new RangeError("cacheTtlMs: 0 or more");
  if (!(timeoutMs > 0 && timeoutMs <= 3_600_000)) throw new RangeError("timeoutMs: above 0, at most an hour");
  const cache = new FeatureCache<Row>(cacheEntriesMax);
  const spare = typeof fallback === "object" ? fallback.default : undefined;

  return {
    close: () => store.close(),
    get: async (ids, context) => {
      const nowMs = performance.now();
      const known = new Map<string, Row | undefined>();
      const stale = new Map<string, Row | undefined>();
      for (const id of new Set(ids)) {
        const entry = cache.get(id);
        if (entry === undefined) continue;
        (entry.freshUntilMs > nowMs ? known : stale).set(id, entry.value);
      }
      const missing = [...new Set(ids)].filter((id) => !known.has(id));
      if (known.size > 0) context.count("cache_hit", known.size);
      if (missing.length > 0) {
        context.count("cache_miss", missing.length);
        await look(missing, { known, stale, context });
      }
      return ids.map((id) => known.get(id) ?? spare);
    },
  };

  type Found = {
    readonly known: Map<string, Row | undefined>;
    readonly stale: ReadonlyMap<string, Row | undefined>;
    readonly context: Pick<HookContext, "signal" | "count">;
  };

  /** Asks the store for these, and puts what is to count into `known`. */
  async function look(ids: readonly string[], { known, stale, context }: Found): Promise<void> {
    try {
      const rows = await within(timeoutMs, context.signal, (signal) => store.fetch(ids, signal));
      if (rows.length !== ids.length) throw new Error(`${ids.length} entities asked for, ${rows.length} answered`);
      const freshUntilMs = performance.now() + cacheTtlMs;
      for (const [at, id] of ids.entries()) {
        known.set(id, rows[at]);
        cache.set(id, { value: rows[at], freshUntilMs });
        if (rows[at] === undefined && spare !== undefined) context.count("lookup_default");
      }
    } catch (error) {
      // Nobody waits any longer: whose request it was has been told.
      context.signal.throwIfAborted();
      context.count("lookup_failed");
      if (spare !== undefined) {
        context.count("lookup_default", ids.length);
      } else if (fallback === "stale" && ids.every((id) => stale.has(id))) {
        context.count("lookup_stale", ids.length);
        for (const id of ids) known.set(id, stale.get(id));
      } else {
        throw new LookupFailed(`features of ${ids.length} entities: ${messageOf(error)}`, { cause: error });
      }
    }
  }
}

/** Does something within a time; rejects when that or the signal's has come, whether or not it heeds its own signal. */
async function within<Result>(
  timeoutMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  outer.throwIfAborted();
  const own = new AbortController();
  const aborted = Promise.withResolvers<never>();
  const abort = (error: unknown): void => {
    own.abort(error);
    aborted.reject(error);
  };
  const timer = setTimeout(() => abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  const onOuter = (): void => abort(outer.reason);
  outer.addEventListener("abort", onOuter, { once: true });
  try {
    return await Promise.race([work(own.signal), aborted.promise]);
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", onOuter);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
