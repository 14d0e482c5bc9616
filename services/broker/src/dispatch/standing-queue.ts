import { patienceMsOf, staleOf } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "./request.ts";

/**
 * Who has waited too long in a queue that stands, before a batch leaves that begins with `head`; undefined where there is none. O(1) while
 * nothing stands.
 */
export function givenUpBefore({ model, classIndex }: Request, nowMs: number): readonly Request[] | undefined {
  const queue = model.backlog.ofClass(classIndex);
  if (!model.codels[classIndex]!.stands || queue.loose === undefined) return undefined;
  const { rows: keptRows, ms } = model.largestBatch;
  if (!queue.newestFirst) {
    // As many as the slots do within the patience.
    const roomRows = (model.slots * keptRows * patienceMsOf(ms)) / ms;
    return queue.loose.rows > roomRows ? latestOfMostServed(model, classIndex, queue.loose.rows - roomRows) : undefined;
  }
  const stale = staleOf(queue.loose, { sinceMs: nowMs - patienceMsOf(ms), rows: queue.rows, keptRows });
  return stale.length === 0 ? undefined : stale;
}

/** A batch has left, or nothing waits any more: whether the queues of its model stand. O(classes). */
export function lookAtWhatIsLeft(model: ModelVersion, nowMs: number): void {
  for (let index = 0; index < model.codels.length; index++) {
    const codel = model.codels[index]!;
    const queue = model.backlog.ofClass(index);
    const oldest = queue.loose?.head;
    if (oldest === undefined && !codel.isInDoubt) continue;
    const oldestMs = oldest === undefined ? 0 : nowMs - oldest.receivedMs;
    codel.look({ oldestMs, rows: queue.rows }, model.largestBatch, nowMs);
    // Of several tenants the one that comes most would have the newest: their shares decide, and the oldest still go first.
    queue.newestFirst = codel.stands && !model.tenants[index]!.isContended;
  }
}

/** So many rows of the tenants that have had most: of each the latest, down to what the next one has had. O(requests + accounts). */
function latestOfMostServed(model: ModelVersion, classIndex: number, rows: number): readonly Request[] | undefined {
  const accounts = model.tenants[classIndex]!.waiting();
  const given: Request[] = [];
  let left = rows;
  for (const [at, { newest, taken, weight }] of accounts.entries()) {
    const keep = accounts[at + 1]?.taken ?? -Infinity;
    let had = taken;
    for (let entry = newest; entry !== undefined && had > keep; entry = entry.older) {
      if (!entry.isLoose) continue;
      if (left <= 0) return given;
      given.push(entry);
      had -= entry.rows / weight;
      left -= entry.rows;
    }
  }
  return given.length === 0 ? undefined : given;
}
