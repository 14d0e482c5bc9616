import { type BatchView, entriesToYield } from "@millrace/scheduling";
import type { Request } from "./request.ts";

/** Requests that are looked at behind a batch. */
const LOOKED_AT_MAX = 256;

/** A batch that is about to leave: its rows, what it was decided by, and the batch that would be kept of what it leaves behind. */
export type Leaving = { readonly rows: number; readonly view: BatchView; readonly keptRows: number };

/**
 * Who has to give up a place for a request that a batch would leave behind: one that would be too late for the next, while the batch is
 * full of a tenant that has had more than its share with it. Undefined where there is none. The queue goes by deadlines, and
 * a plan gives up whoever is too late: without this the tenant that comes most would get most, whatever the door does.
 * O(accounts) where a batch leaves something behind, and O(requests behind it), at most 256.
 */
export function yieldingTo(head: Request, { rows, view, keptRows }: Leaving): readonly Request[] | undefined {
  const { model, classIndex, bucket } = head;
  const shares = model.tenants[classIndex]!;
  if (rows >= view.waitingRows || !shares.areSeveral) return undefined;
  const queue = model.backlog.ofClass(classIndex);
  const entries = queue.inBucket(bucket);
  // Places in batches of other shapes are of no use to it.
  if (entries === undefined || entries !== queue.order) return undefined;
  const over = shares.mostServed();
  const nextStartMs = view.startMs + (view.predict(rows)?.q50Ms ?? NaN) / view.slots;
  const nextEndMs = nextStartMs + (view.predict(Math.max(1, keptRows))?.q95Ms ?? NaN) + view.marginMs;
  let before = 0;
  let left = LOOKED_AT_MAX;
  for (const entry of entries) {
    const { account, deadlineMs } = entry;
    before += entry.rows;
    if (before <= rows) continue;
    if (!(deadlineMs < nextEndMs) || left-- === 0) return undefined;
    if (over === undefined || account === undefined || account === over) continue;
    const wanted = { rows: before - rows, bytes: 0, untilMs: deadlineMs, keep: account.taken };
    return entriesToYield(over, wanted);
  }
  return undefined;
}
