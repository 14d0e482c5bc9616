import { expect, test } from "vitest";
import { LateShare } from "./late-share.ts";

test("the 99th percentile is planned with while more than one of 200 is late, whatever the batches", () => {
  for (const batch of [1, 8, 64]) {
    const share = new LateShare();
    expect(share.quantile).toBe(0.95);
    for (let sent = 0; sent < 6_400; sent += batch) share.record(batch, 0.004 * batch);
    expect(share.quantile).toBe(0.95);
    for (let sent = 0; sent < 6_400; sent += batch) share.record(batch, 0.006 * batch);
    expect(share.share).toBeCloseTo(0.006, 4);
    expect(share.quantile).toBe(0.99);
    for (let sent = 0; sent < 640; sent += batch) share.record(batch, 0);
    expect(share.quantile).toBe(0.95);
  }
});

test("a batch of which nothing was left counts for nothing", () => {
  const share = new LateShare();
  share.record(0, 0);
  expect(share.share).toBe(0);
});
