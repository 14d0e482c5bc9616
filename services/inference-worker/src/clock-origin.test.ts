import { expect, test } from "vitest";
import { clockOriginNs } from "./clock-origin.ts";

test("a process that is put aside between its clocks still tells how far they are apart", () => {
  const pausesMs = [75, 0.2, 0.001, 3, 75];
  let nowMs = 1_000;
  let looks = 0;
  const readNs = (): bigint => 7_000_000_000n + BigInt(Math.round(nowMs * 1e6));
  const readMs = (): number => {
    nowMs += pausesMs[looks++ % pausesMs.length]!;
    return nowMs;
  };
  expect(Math.abs(Number(clockOriginNs({ readNs, readMs }) - 7_000_000_000n))).toBeLessThan(2_000);
});

test("the clocks of this process are told apart to the tenth of a millisecond", () => {
  const clocks = { readNs: () => process.hrtime.bigint(), readMs: () => performance.now() };
  const originNs = clockOriginNs(clocks);
  let leastMs = Infinity;
  for (let i = 0; i < 100; i++) {
    const nowMs = performance.now();
    leastMs = Math.min(leastMs, Math.abs(Number(process.hrtime.bigint() - originNs) / 1e6 - nowMs));
  }
  expect(leastMs).toBeLessThan(0.1);
});
