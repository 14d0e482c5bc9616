import { type ErrorCode, REQUEST_FLAGS } from "@millrace/protocol";
import type { Request } from "./request.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** Requests of one batch that wait again because their worker is lost; or one that is given up, with its code. */
export type Loss = { readonly batch: Batch; readonly requests: readonly Request[]; readonly code?: ErrorCode };

/** Why a request is not tried again. */
export type GivenUp = { readonly code: ErrorCode; readonly text: string };

/**
 * Counts an attempt of a request that may have run on a worker that is lost. It runs alone from now on, since it may be what killed
 * the worker; a request that was alone already, or may not run twice, is given up.
 */
export function lostInRun(request: Request, batch: Batch): GivenUp | undefined {
  request.failures++;
  if (request.alone) {
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

/** `text`: what the worker said that handed it back last. */
export function triedTooOften({ attempts }: Request, text: string): GivenUp {
  return { code: "unavailable", text: `given up after ${attempts} attempts: ${text}` };
}
