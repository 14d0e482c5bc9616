import { expect, test } from "vitest";
import { FeatureCache } from "./feature-cache.ts";
import { createFeatureLookup, type FeatureStore, type LookupOptions } from "./feature-lookup.ts";

type Row = { readonly of: string };

/** A store in this process: knows every id but "unknown", and fails or is silent when told to. */
class MemoryStore implements FeatureStore<Row> {
  readonly asked: (readonly string[])[] = [];
  readonly signals: AbortSignal[] = [];
  mode: "well" | "fails" | "silent" | "short" = "well";

  fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly (Row | undefined)[]> {
    this.asked.push(ids);
    this.signals.push(signal);
    if (this.mode === "fails") return Promise.reject(new Error("down"));
    if (this.mode === "silent") return new Promise(() => {});
    const rows = ids.map((id) => (id === "unknown" ? undefined : { of: id }));
    return Promise.resolve(this.mode === "short" ? rows.slice(1) : rows);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function lookupWith(options: LookupOptions<Row>) {
  const store = new MemoryStore();
  const counts: Record<string, number> = {};
  const count = (event: string, times = 1): void => void (counts[event] = (counts[event] ?? 0) + times);
  const lookup = createFeatureLookup(store, options);
  const get = (ids: readonly string[], signal = new AbortController().signal) => lookup.get(ids, { signal, count });
  return { store, counts, get };
}

test("each entity is asked for once, in one go, and comes from the cache while it is fresh", async () => {
  const { store, counts, get } = lookupWith({ cacheTtlMs: 60_000 });
  expect(await get(["a", "b", "a", "unknown"])).toEqual([{ of: "a" }, { of: "b" }, { of: "a" }, undefined]);
  expect(await get(["b", "c", "unknown"])).toEqual([{ of: "b" }, { of: "c" }, undefined]);
  expect(store.asked).toEqual([["a", "b", "unknown"], ["c"]]);
  expect(counts).toEqual({ cache_miss: 4, cache_hit: 2 });
  expect(await get([])).toEqual([]);
});

test("what is not fresh any more is asked for again", async () => {
  const { store, get } = lookupWith({ cacheTtlMs: 0 });
  await get(["a"]);
  await get(["a"]);
  expect(store.asked).toHaveLength(2);
});

test("a cache without room keeps nothing", async () => {
  const { store, get } = lookupWith({ cacheEntriesMax: 0 });
  await get(["a"]);
  await get(["a"]);
  expect(store.asked).toHaveLength(2);
});

test("an id that is as long as a client likes is looked up, and not kept", async () => {
  const { store, get } = lookupWith({ cacheTtlMs: 60_000 });
  const [kept, long] = ["a".repeat(1024), "b".repeat(1025)];
  expect(await get([kept, long])).toEqual([{ of: kept }, { of: long }]);
  await get([kept, long]);
  expect(store.asked[1]).toEqual([long]);
});

test.for(["fails", "silent", "short"] as const)("fallback fail: a store that %s costs the request", async (mode) => {
  const { store, counts, get } = lookupWith({ timeoutMs: 20 });
  store.mode = mode;
  await expect(get(["a"])).rejects.toMatchObject({ name: "LookupFailed" });
  expect(counts).toEqual({ cache_miss: 1, lookup_failed: 1 });
  if (mode === "silent") expect(store.signals[0]?.aborted).toBe(true);
});

test("fallback stale: an old answer counts where there is one for all, else the request fails", async () => {
  const { store, counts, get } = lookupWith({ cacheTtlMs: 0, fallback: "stale" });
  await get(["a", "unknown"]);
  store.mode = "fails";
  expect(await get(["a", "unknown"])).toEqual([{ of: "a" }, undefined]);
  expect(counts["lookup_stale"]).toBe(2);
  await expect(get(["a", "b"])).rejects.toMatchObject({ name: "LookupFailed" });
});

test("fallback default: for what the store cannot tell, and for whom it does not know; the fresh ones stay", async () => {
  const { store, counts, get } = lookupWith({ cacheTtlMs: 60_000, fallback: { default: { of: "nobody" } } });
  expect(await get(["a", "unknown"])).toEqual([{ of: "a" }, { of: "nobody" }]);
  store.mode = "fails";
  expect(await get(["a", "b"])).toEqual([{ of: "a" }, { of: "nobody" }]);
  expect(counts).toEqual({ cache_miss: 3, cache_hit: 1, lookup_default: 2, lookup_failed: 1 });
});

test("a request that is over ends its look-up with its own reason, and counts no failure of the store", async () => {
  const { store, counts, get } = lookupWith({ fallback: { default: { of: "nobody" } } });
  store.mode = "silent";
  const over = new AbortController();
  const looking = get(["a"], over.signal);
  over.abort(new Error("gone"));
  await expect(looking).rejects.toThrow("gone");
  expect(store.signals[0]?.aborted).toBe(true);
  await expect(get(["a"], over.signal)).rejects.toThrow("gone");
  expect(counts).toEqual({ cache_miss: 2 });
});

test("the cache holds so many, and the one that was used longest ago leaves", () => {
  const cache = new FeatureCache<string>(2);
  for (const id of ["a", "b"]) cache.set(id, { value: id, freshUntilMs: 1 });
  expect(cache.get("a")?.value).toBe("a");
  cache.set("c", { value: "c", freshUntilMs: 1 });
  expect(["a", "b", "c"].map((id) => cache.get(id)?.value)).toEqual(["a", undefined, "c"]);
  cache.set("c", { value: "new", freshUntilMs: 2 });
  expect([cache.size, cache.get("c")]).toEqual([2, { value: "new", freshUntilMs: 2 }]);
});

test.for<LookupOptions<Row>>([
  { cacheEntriesMax: -1 },
  { cacheTtlMs: -1 },
  { timeoutMs: 0 },
  { timeoutMs: Number.NaN },
])("%o is out of range", (options) => {
  expect(() => lookupWith(options)).toThrow(RangeError);
});
