/** Elements of a shape, row-major and without gaps. */
export type Block = { readonly bytes: Uint8Array; readonly shape: readonly number[] };

/**
 * Copies what two blocks of equal rank have in common, from the first element of each on: of every dimension the smaller size. So it
 * puts a block into the corner of a larger one, or cuts one out. One copy for each run of elements that lie together in both.
 */
export function copyCorner(from: Block, to: Block, elementBytes: number): void {
  let last = from.shape.length - 1;
  let piece = elementBytes;
  while (last >= 0 && from.shape[last] === to.shape[last]) piece *= from.shape[last--]!;
  if (last < 0) return to.bytes.set(from.bytes.subarray(0, piece));
  const dimensions = last + 1;
  const run = Math.min(from.shape[last]!, to.shape[last]!) * piece;
  const fromStrides = strides(from.shape, dimensions, piece);
  const toStrides = strides(to.shape, dimensions, piece);
  const walk = (dimension: number, fromAt: number, toAt: number): void => {
    if (dimension === last) return to.bytes.set(from.bytes.subarray(fromAt, fromAt + run), toAt);
    const count = Math.min(from.shape[dimension]!, to.shape[dimension]!);
    for (let i = 0; i < count; i++) {
      walk(dimension + 1, fromAt + i * fromStrides[dimension]!, toAt + i * toStrides[dimension]!);
    }
  };
  walk(0, 0, 0);
}

/** How many bytes lie from one index of a dimension to the next, for the first `dimensions`; `piece`: of the last of these. */
function strides(shape: readonly number[], dimensions: number, piece: number): number[] {
  const all = Array.from({ length: dimensions }, () => piece);
  for (let i = dimensions - 2; i >= 0; i--) all[i] = all[i + 1]! * shape[i + 1]!;
  return all;
}
