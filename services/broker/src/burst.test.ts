import { expect, test } from "vitest";
import { OpenLoad } from "./testing/open-load.ts";

const LINE = { fixedMs: 40, rowMs: 2.5 };
const ROWS_MAX = 256;
const REQUESTS = 1_000;

test.for([1, 2, 4])(
  "1,000 requests at once on %i slots: in as few and even batches as the slots can take",
  (workers) => {
    const one = { atMs: 1, budgetMs: 60_000, rows: 1, priority: 2, tenant: "" };
    const offered = Array.from({ length: REQUESTS }, () => one);
    const { fates } = new OpenLoad({ offered, line: LINE, workers, rowsMax: ROWS_MAX }).run();
    expect(fates.every(({ code }) => code === "ok")).toBe(true);
    const lastMs = Math.max(...fates.map(({ atMs, endMs }) => endMs - atMs));
    // Nothing is faster than one batch a slot; four in turn take 3·a more.
    expect(lastMs / (LINE.fixedMs + (LINE.rowMs * REQUESTS) / workers)).toBeLessThan(1.06);
  },
);
