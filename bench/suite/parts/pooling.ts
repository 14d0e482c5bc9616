import type { PartRow } from "../part.ts";

const ONE = 1;

/** Says what of B4 belongs together: starts nothing. */
export const pooling: PartRow = {
  name: "B10",
  title: "One to eight workers: more than proportional, as a pool of slots waits less",
  workers: [8],
  missing: ({ factOf, workers }) =>
    factOf("B4", "lambda99", ONE) === undefined || factOf("B4", "lambda99", workers) === undefined
      ? `B4 with ${ONE} and ${workers} workers is not in the file`
      : "",
  run: async (run) => {
    const { workers, factOf } = run.context;
    const growth = (name: string): number =>
      (factOf("B4", name, workers) ?? 0) / (workers * (factOf("B4", name, ONE) ?? Number.NaN));
    const [live, ideal] = [growth("lambda99"), growth("lambda99 simulated")];
    run.check({ what: `λ99(${workers}) ÷ (${workers} · λ99(1))`, value: live, unit: "", atLeast: 1.35 });
    run.check({ what: "that ÷ the simulator's", value: live / ideal, unit: "", atLeast: 0.95 });
  },
};
