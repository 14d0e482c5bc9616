import { type ErrorCode, REQUEST_FLAGS } from "@millrace/protocol";
import type { Request } from "./request.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** Requests of one batch that wait again because their worker is lost; or one that is given up, with its code. */
export type Loss = { readonly batch: Batch; readonly requests: readonly Request[]; readonly code?: ErrorCode };

/** Why a request is not tried again. */
export type GivenUp = { readonly code: ErrorCode; readonly text: string };

/**
 * Counts an attempt of a request that may have run on a worker that is lost. It runs alone from now on, since it may be what killed
 * the worker; a request that was alone already, may run on yet another one, or may not run twice, is given up.
 */
export function lostInRun(request: Request, batch: Batch): GivenUp | undefined {
  request.failures++;
  if (request.alone || mayRunElsewhere(request)) {
    // Two runs at one time, in company: whose fault it was is not certain.
    const code = batch.isIsolated ? "poison" : "worker_lost";
    return { code, text: "two workers were lost while they ran this request" };
  }
  if ((request.item.flags & REQUEST_FLAGS.noRetry) !== 0) {
    return { code: "worker_lost", text: "the worker was lost, and the request may not run twice" };
  }
  request.alone = true;
  return undefined;
}

/** Whether the worker from which it was taken back still has it, and may have begun it. */
function mayRunElsewhere({ recalledFrom }: Request): boolean {
  return recalledFrom?.slot.batches.includes(recalledFrom) === true;
}

/**
 * A request that was taken back from a worker, which was lost and may have begun it all the same: it runs alone when it runs again, and where it
 * runs now in company, the loss of that worker too is its second.
 */
export function accuse(request: Request): void {
  request.failures++;
  if (request.alone) return;
  const { model, state } = request;
  if (state === "queued") model.backlog.remove(request);
  request.alone = true;
  if (state === "queued") model.suspects.push(request);
}

/** `text`: what the worker said that handed it back last. */
export function triedTooOften({ attempts }: Request, text: string): GivenUp {
  return { code: "unavailable", text: `given up after ${attempts} attempts: ${text}` };
}
