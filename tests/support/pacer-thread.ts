/** The thread of a pacer: sleeps until the next arrival, and tells how many are due. */
import { parentPort, workerData } from "node:worker_threads";
import type { PacerData } from "./pacer.ts";

const { arrivalsMs, startNs } = workerData as PacerData;
const never = new Int32Array(new SharedArrayBuffer(4));
const nowMs = (): number => Number(process.hrtime.bigint() - startNs) / 1e6;

for (let due = 0; due < arrivalsMs.length;) {
  const leftMs = arrivalsMs[due]! - nowMs();
  if (leftMs > 0) Atomics.wait(never, 0, 0, leftMs);
  const now = nowMs();
  const before = due;
  while (due < arrivalsMs.length && arrivalsMs[due]! <= now) due++;
  // No window's postMessage: its second argument would be a transfer list.
  if (due > before) parentPort?.postMessage(due, []);
}
