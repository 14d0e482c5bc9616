/**
 * A simulator that shares no code with the scheduler: one queue, N equal workers, batch time a + b·n, one deadline for all, each
 * policy in a few lines. It is the oracle that the production policy and our own simulator are compared with.
 */
export type ReferencePolicy = "greedy" | "fixed" | "edf" | "paced";

/** Times in ms, rates in requests/ms. */
export type ReferenceOptions = {
  readonly a: number;
  readonly b: number;
  readonly D: number;
  readonly N: number;
  readonly lam: number;
  readonly policy: ReferencePolicy;
  readonly M?: number;
  readonly W?: number;
  readonly Bmax?: number;
  readonly seed?: number;
};

export type ReferenceOutcome = { readonly ok: number; readonly p50: number; readonly p99: number };

/** mulberry32. */
export function randomOf(seed: number): () => number {
  let s = seed;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function runReference(options: ReferenceOptions): ReferenceOutcome {
  const { a, b, D, N, lam, policy, M = 60_000, W = 0, Bmax = 1e9, seed = 1 } = options;
  const random = randomOf(seed);
  const L = (n: number): number => a + b * n;
  const target = Math.max(1, Math.floor((D / (1 + 1 / N) - a) / b));
  const sustainable = Math.max(1, Math.min(target, N > lam * b ? (lam * a) / (N - lam * b) : 1e9));
  const arrivals: number[] = [];
  let t = 0;
  for (let i = 0; i < M; i++) arrivals.push((t += -Math.log(1 - random()) / lam));
  const latency = new Float64Array(M).fill(Infinity);
  const busy: number[] = [];
  let h = 0;
  let q = 0;
  let ai = 0;
  let last = -1e9;
  let timer = Infinity;
  for (;;) {
    const tb = busy.length > 0 ? Math.min(...busy) : Infinity;
    const ta = ai < M ? arrivals[ai]! : Infinity;
    const now = Math.min(ta, tb, timer);
    if (now === Infinity) break;
    if (now === tb) busy.splice(busy.indexOf(tb), 1);
    else if (now === ta) ai++;
    timer = Infinity;
    while (busy.length < N && (q = ai - h) > 0) {
      let n = Math.min(q, Bmax);
      let at = -1;
      if (policy === "fixed" && n < Bmax) at = arrivals[h]! + W;
      if (policy === "edf" || policy === "paced") {
        const k = policy === "paced" ? Math.floor(sustainable) : 1;
        while (h < ai && arrivals[h]! + D < now + L(Math.min(k, ai - h))) h++;
        if ((q = ai - h) === 0) break;
        n = Math.max(1, Math.min(q, Bmax, Math.floor((arrivals[h]! + D - now - a) / b + 1e-9)));
        if (policy === "paced" && n === q && n < sustainable)
          at = Math.min(arrivals[h]! + D - L(n + 1) - 0.1, last + L(sustainable) / N);
      }
      if (now < at - 1e-9) {
        timer = at;
        break;
      }
      const end = now + L(n);
      for (let i = 0; i < n; i++) latency[h + i] = end - arrivals[h + i]!;
      h += n;
      busy.push(end);
      last = now;
    }
  }
  const counted = Array.from(latency.subarray(Math.floor(M * 0.05)));
  const finite = counted.filter(Number.isFinite).sort((x, y) => x - y);
  return {
    ok: counted.filter((value) => value <= D + 1e-9).length / counted.length,
    p50: finite[Math.floor(finite.length * 0.5)] ?? Infinity,
    p99: finite[Math.floor(finite.length * 0.99)] ?? Infinity,
  };
}
