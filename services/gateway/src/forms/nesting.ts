/** The lengths of a value, its first element, that one's first element and so on, at most `depthMax` of them. */
export function sizesOf(value: unknown, depthMax: number): readonly number[] {
  const sizes: number[] = [];
  for (let at = value; Array.isArray(at) && sizes.length < depthMax; at = at[0]) sizes.push(at.length);
  return sizes;
}
