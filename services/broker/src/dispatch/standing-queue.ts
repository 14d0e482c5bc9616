import { patienceMsOf, staleOf } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "./request.ts";

/**
 * Who has waited too long in a queue that stands, before a batch leaves that begins with `head`; undefined where there is none. O(1) while
 * nothing stands.
 */
export function givenUpBefore({ model, classIndex }: Request, nowMs: number): readonly Request[] | undefined {
  const queue = model.backlog.ofClass(classIndex);
  if (!queue.newestFirst || queue.loose === undefined) return undefined;
  const { rows: keptRows, ms } = model.largestBatch;
  const stale = staleOf(queue.loose, { sinceMs: nowMs - patienceMsOf(ms), rows: queue.rows, keptRows });
  return stale.length === 0 ? undefined : stale;
}

/** A batch has left: whether the queues of its model stand. O(classes). */
export function lookAtWhatIsLeft(model: ModelVersion, nowMs: number): void {
  for (let index = 0; index < model.codels.length; index++) {
    const codel = model.codels[index]!;
    const queue = model.backlog.ofClass(index);
    const oldest = queue.loose?.head;
    if (oldest === undefined && !codel.isInDoubt) continue;
    const oldestMs = oldest === undefined ? 0 : nowMs - oldest.receivedMs;
    codel.look({ oldestMs, rows: queue.rows }, model.largestBatch, nowMs);
    queue.newestFirst = codel.stands;
  }
}
