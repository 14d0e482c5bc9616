import type { Queued } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "./request.ts";

/** Where requests of a model version wait. */
export type Line = { readonly model: ModelVersion; readonly line: "backlog" | "suspects" };

/** A line in which something waits. In the place of a deadline: its key in the order of turns. */
export type Turn = Queued & Line;

/** Requests of the class and bucket of a request that waits, itself included. */
export function waitingWith({ model, classIndex, bucket }: Request): number {
  return model.backlog.ofClass(classIndex).inBucket(bucket)?.length ?? 0;
}

export function lineOf(request: Request): Line["line"] {
  return request.alone ? "suspects" : "backlog";
}
