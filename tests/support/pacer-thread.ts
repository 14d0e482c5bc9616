/** The thread of a pacer: sleeps until the next arrival that its owner does not see by itself, and calls. */
import { parentPort, workerData } from "node:worker_threads";
import { LOOK_EVERY_MS, PACE, type PacerData } from "./pacer.ts";

const { arrivalsMs, startNs, pace } = workerData as PacerData;
/** What performance.now() is at the start. */
const startMs = performance.now() + Number(startNs - process.hrtime.bigint()) / 1e6;

let wokenMs = -Infinity;
for (let due = 0; due < arrivalsMs.length;) {
  const wakeMs = Math.max(startMs + arrivalsMs[due]!, wokenMs + LOOK_EVERY_MS);
  const leftMs = wakeMs - performance.now();
  if (leftMs > 0) Atomics.wait(pace, PACE.idle, 0, leftMs);
  wokenMs = performance.now();
  const seen = Atomics.load(pace, PACE.seen);
  for (due = seen; due < arrivalsMs.length && startMs + arrivalsMs[due]! <= wokenMs;) due++;
  if (due === seen) continue;
  Atomics.store(pace, PACE.due, due);
  // Who is called and has not come yet will see these, too. No window's postMessage: its second argument would be a transfer list.
  if (Atomics.exchange(pace, PACE.called, 1) === 0) parentPort?.postMessage(undefined, []);
}
