import fc from "fast-check";
import { expect, test } from "vitest";
import { copyCorner } from "./block-copy.ts";

/** The element at an index, counted in row-major order. */
function position(shape: readonly number[], index: readonly number[]): number {
  return shape.reduce((at, size, dimension) => at * size + index[dimension]!, 0);
}

/** Every index of a shape. */
function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}

test("each element that both blocks have is copied to its place, and nothing else is touched", () => {
  const size = fc.nat(4);
  const shapes = fc.array(fc.tuple(size, size), { maxLength: 4 });
  fc.assert(
    fc.property(shapes, fc.constantFrom(1, 2, 8), (pairs, elementBytes) => {
      const [from, to] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)];
      const count = (shape: readonly number[]): number => shape.reduce((product, one) => product * one, 1);
      const source = Uint8Array.from({ length: count(from) * elementBytes }, (_, i) => 1 + (i % 250));
      const target = new Uint8Array(count(to) * elementBytes).fill(255);
      const expected = target.slice();
      for (const index of indices(from)) {
        if (index.some((one, dimension) => one >= to[dimension]!)) continue;
        const at = position(from, index) * elementBytes;
        expected.set(source.subarray(at, at + elementBytes), position(to, index) * elementBytes);
      }
      copyCorner({ bytes: source, shape: from }, { bytes: target, shape: to }, elementBytes);
      expect(target).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});
