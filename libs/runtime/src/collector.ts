import { setFlagsFromString } from "node:v8";

/**
 * Sets V8's collector to what requests need: they die young, all of them. Call it before anything runs often; docs/performance.md
 * has the figures.
 */
export function tuneCollector(): void {
  // V8 guesses from a few early collections which literals live long, and allocates those in the old generation; with hundreds
  // of requests in flight all of them seem to. Each such object then keeps its whole request alive until the next full
  // collection, and every request is copied twice for nothing.
  setFlagsFromString("--no-allocation-site-pretenuring");
  // What survives is small: waiting for helper threads to be scheduled takes longer than copying it alone.
  setFlagsFromString("--no-parallel-scavenge");
  // A full collection begins by default whenever buffers outside the heap have grown by 64 MB, a hundred tensors of an image, however
  // small the heap is that it looks through. Counted together with the heap they may grow with it, by three tenths.
  setFlagsFromString("--external-memory-accounted-in-global-limit");
  // And the heap may grow to four times what was left of it. By default that is a tenth more where few objects are made, however many
  // bytes come and go: at 15 MB that live a full collection began every fifty tensors of an image, and took half of what they cost.
  setFlagsFromString("--heap-growing-percent=300");
}
