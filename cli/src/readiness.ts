import { setTimeout as sleep } from "node:timers/promises";
import { type IndexEntry, probeHealth, probeIndex } from "./gateway-probe.ts";

/**
 * - `serving`: requests are answered.
 * - `waiting`: it will come, as far as can be seen.
 * - `stuck`: nothing that goes on can change it, unless what we see is about to change.
 */
export type Verdict = { readonly kind: "serving" | "waiting" | "stuck"; readonly reason: string };

/** What a gateway shows: the status of its readiness (0: no answer) and its models (undefined: not told). */
export type GatewayView = { readonly healthStatus: number; readonly index: readonly IndexEntry[] | undefined };

/**
 * Judges whether a gateway serves, when every process has reported that it is ready: it says so, at least one model is
 * ready and none is still loading. Pure.
 */
export function judge({ healthStatus, index }: GatewayView): Verdict {
  if (healthStatus === 0 || index === undefined) return { kind: "waiting", reason: "the gateway does not answer yet" };
  if (index.length === 0) return { kind: "stuck", reason: "there is no model in the repository" };
  const loading = index.filter(({ state }) => state !== "READY" && state !== "UNAVAILABLE");
  if (loading.length > 0) return { kind: "waiting", reason: `loading ${loading.map(toName).join(", ")}` };
  if (index.some(({ state }) => state === "READY")) {
    if (healthStatus === 200) return { kind: "serving", reason: "" };
    return { kind: "waiting", reason: "the gateway is not ready yet" };
  }
  const reasons = index.map((entry) => `${toName(entry)}: ${entry.reason || "no reason given"}`);
  return { kind: "stuck", reason: `no model can serve: ${reasons.join("; ")}` };
}

const POLL_MS = 50;
/** How long a gateway must look stuck before it is believed: news of models may still be on the way. */
const STUCK_MS = 3_000;
const PROGRESS_EVERY_MS = 5_000;

/**
 * Waits until a gateway serves. `onProgress` hears every five seconds what it is waiting for.
 *
 * @throws {Error} that says why no model can serve; the signal's reason when it is aborted.
 */
export async function awaitServing(options: {
  readonly url: string;
  readonly signal: AbortSignal;
  readonly onProgress: (reason: string) => void;
}): Promise<void> {
  let stuckSinceMs = Number.POSITIVE_INFINITY;
  let progressMs = performance.now();
  for (;;) {
    options.signal.throwIfAborted();
    const healthStatus = await probeHealth(options.url);
    const index = healthStatus === 0 ? undefined : await probeIndex(options.url);
    const verdict = judge({ healthStatus, index });
    if (verdict.kind === "serving") return;
    const nowMs = performance.now();
    stuckSinceMs = verdict.kind === "stuck" ? Math.min(stuckSinceMs, nowMs) : Number.POSITIVE_INFINITY;
    if (nowMs - stuckSinceMs >= STUCK_MS) throw new Error(verdict.reason);
    if (nowMs - progressMs >= PROGRESS_EVERY_MS) {
      progressMs = nowMs;
      options.onProgress(verdict.reason);
    }
    await sleep(POLL_MS, undefined, { signal: options.signal });
  }
}

function toName({ name, version }: IndexEntry): string {
  return version === "" || version === "1" ? name : `${name}/${version}`;
}
