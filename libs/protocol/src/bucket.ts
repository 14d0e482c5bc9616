import type { ModelDescription } from "./model.ts";

/** Axes of a model, and sizes of an axis. */
export const AXES_MAX = 8;
export const AXIS_SIZES_MAX = 64;

/** A dimension of one of a model's inputs or outputs, the batch dimension counted as 0. */
export type AxisPlace = {
  /** Its position among the inputs, or among the outputs. */
  readonly tensor: number;
  readonly dimension: number;
};

/** Dimensions of inputs that are of one size in each request, such as a length; they are padded to the next of a few sizes. */
export type BucketAxis = {
  /** Ascending, at least one; a request with more than the last is refused. */
  readonly sizes: readonly number[];
  readonly inputs: readonly AxisPlace[];
};

/** The smallest of ascending sizes that holds so many; undefined where none does. */
export function paddedSize(sizes: readonly number[], size: number): number | undefined {
  return sizes.find((one) => one >= size);
}

/** The text of a bucket: the inner dimensions of all inputs, as they run. One that is longer than a name is the sender's to shorten. */
export function bucketText(innerShapes: readonly (readonly number[])[]): string {
  return innerShapes.map((shape) => shape.join(",")).join("|");
}

/** Rows of one run of requests like this one, at least 1: its bucket is the same for all, and with it the elements of a row. */
export function rowsOfRun(
  { maxBatchSize, maxBatchElements }: Pick<ModelDescription, "maxBatchSize" | "maxBatchElements">,
  { rows, cost }: { readonly rows: number; readonly cost: number },
): number {
  if (maxBatchElements === 0 || cost === 0) return maxBatchSize;
  return Math.max(1, Math.min(maxBatchSize, Math.floor(maxBatchElements / (cost / rows))));
}
