import { lineOf } from "./line.ts";
import type { Request } from "./request.ts";
import type { Outbox } from "../sessions/outbox.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** Tells a worker that nobody waits for a request of this batch there; nothing where there is none. What has begun goes on. */
export function cancelRun(request: Request, batch: Batch | undefined, outbox: Outbox): void {
  if (batch === undefined) return;
  outbox.cancel(batch.slot.worker, { batch: batch.id, request: batch.requests.indexOf(request) });
}

/** Calls the other run of a request off that was answered by this one. Returns whether the second one has answered it. */
export function callOff(request: Request, answered: Batch, outbox: Outbox): boolean {
  const { batch, hedge } = request;
  if (batch === undefined || hedge === undefined) return false;
  cancelRun(request, answered === batch ? hedge : batch, outbox);
  if (answered !== hedge) return false;
  request.retryMs += hedge.dispatchedMs - request.sinceMs;
  return true;
}

/** Whether it was taken back from this batch, and waits for another or for its turn. */
export function isRecalledFrom(batch: Batch, { state, recalledFrom }: Request): boolean {
  return recalledFrom === batch && state !== "ended";
}

/** Whether a request that is answered had been taken back from this batch, and had begun all the same: then it need not run where it is now. */
export function foundBegun(batch: Batch, request: Request, outbox: Outbox): boolean {
  if (!isRecalledFrom(batch, request)) return false;
  if (request.state === "queued") request.model[lineOf(request)].remove(request);
  else cancelRun(request, request.batch, outbox);
  return true;
}
