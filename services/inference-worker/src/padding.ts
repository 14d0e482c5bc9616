import {
  type AxisPlace,
  type BucketAxis,
  DATATYPES,
  FREE,
  LIMITS,
  paddedSize,
  type TensorSpec,
} from "@millrace/protocol";
import type { AssembleItem, ItemFault } from "./assemble.ts";
import { fromNumbers } from "./typed-data.ts";

/** What model.yaml says of one axis: the sizes that are run, and the dimension of each input and output that lies along it. */
export type AxisRule = {
  readonly sizes: readonly number[];
  readonly inputs: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, number>>;
  /** The input that tells what is padding; "" = none. */
  readonly mask: string;
};

/** How a model's inputs are to be padded. `values` by name of the input; 0 where none is given. */
export type PaddingRules = { readonly axes: readonly AxisRule[]; readonly values: Readonly<Record<string, number>> };

/** How a model's inputs are padded, and its outputs cut back: plain data. */
export type Padding = {
  readonly axes: readonly (BucketAxis & { readonly outputs: readonly AxisPlace[] })[];
  /** Inputs that are made where a request leaves them out: 1 for its own elements; what is padded is 0. */
  readonly masks: readonly number[];
  /** By input, one element of padding; none for texts, which are not padded. */
  readonly fills: readonly Uint8Array[];
};

/**
 * The rules of a manifest, for the tensors that the model has; undefined where there are no axes.
 * @throws Error that tells the model's owner what does not fit.
 */
export function resolvePadding(
  { axes: rules, values }: PaddingRules,
  { inputs, outputs }: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
): Padding | undefined {
  if (rules.length === 0) return undefined;
  const axes = rules.map((rule, i) => ({
    sizes: rule.sizes,
    inputs: places(rule.inputs, { specs: inputs, where: `buckets[${i}].inputs` }),
    outputs: places(rule.outputs, { specs: outputs, where: `buckets[${i}].outputs` }),
  }));
  refuseTwice(
    axes.flatMap((axis) => axis.inputs),
    inputs,
  );
  refuseTwice(
    axes.flatMap((axis) => axis.outputs),
    outputs,
  );
  const masks = [...new Set(rules.flatMap(({ mask }) => (mask === "" ? [] : [mask])))].map((mask) => {
    const position = inputs.findIndex(({ name }) => name === mask);
    const isAxis = (dimension: number): boolean => axes.some((axis) => includes(axis.inputs, position, dimension));
    const { shape = [] } = inputs[position] ?? {};
    if (position < 0) throw new Error(`buckets: it has no input "${mask}" that could be the mask`);
    if (shape.some((size, dimension) => dimension > 0 && size === FREE && !isAxis(dimension))) {
      throw new Error(`buckets: its mask "${mask}" has an open dimension that is not along any axis`);
    }
    if ((values[mask] ?? 0) !== 0) throw new Error(`padding: its mask "${mask}" is padded with 0`);
    return position;
  });
  for (const [i, axis] of axes.entries()) {
    if (axis.inputs.some(({ tensor }) => !masks.includes(tensor))) continue;
    throw new Error(`buckets[${i}].inputs: an input that is not a mask is needed, to tell the size of a request`);
  }
  for (const name of Object.keys(values)) {
    if (!inputs.some((input) => input.name === name)) throw new Error(`padding: it has no input "${name}"`);
  }
  const fills = inputs.map(({ name, datatype }) =>
    datatype === "BYTES"
      ? new Uint8Array(0)
      : new Uint8Array(fromNumbers(datatype, Float64Array.of(values[name] ?? 0))),
  );
  return { axes, masks: masks.toSorted((a, b) => a - b), fills };
}

/** An item with the masks that it leaves out. What is wrong with it otherwise stays wrong, for the check to find. */
export function withMasks(inputs: readonly TensorSpec[], { axes, masks }: Padding, item: AssembleItem): AssembleItem {
  const missing = masks.filter((mask) => !item.tensors.some(({ name }) => name === inputs[mask]!.name));
  if (missing.length === 0 || missing.length + item.tensors.length !== inputs.length) return item;
  const tensors = [...item.tensors];
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const { bytes } of item.tensors) pieces.push(item.payload.subarray(at, (at += bytes)));
  // What lies behind the last tensor is a fault that must not be covered up.
  const rest = item.payload.subarray(at);
  for (const mask of missing) {
    const { name, datatype, shape } = inputs[mask]!;
    const own = shape.map((size, dimension) => {
      if (dimension === 0) return item.rows;
      const axis = axes.find((one) => includes(one.inputs, mask, dimension));
      return axis === undefined ? size : sizeAlong(axis, inputs, item);
    });
    // The sizes that it follows from are not checked yet: it is made only where a request could have brought it.
    const count = own.reduce((product, size) => product * size, 1);
    const isReal = own.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (!isReal || count * DATATYPES[datatype].bytes > LIMITS.payloadBytes) return item;
    const data = new Uint8Array(fromNumbers(datatype, new Float64Array(count).fill(1)));
    tensors.splice(mask, 0, { name, datatype, shape: own, bytes: data.byteLength });
    pieces.splice(mask, 0, data);
  }
  return { rows: item.rows, tensors, payload: Buffer.concat([...pieces, rest]) };
}

/** The size of an item along an axis, by the first of its tensors that lies there; 0 where none does. */
function sizeAlong({ inputs: along }: BucketAxis, inputs: readonly TensorSpec[], item: AssembleItem): number {
  for (const { tensor, dimension } of along) {
    const own = item.tensors.find(({ name }) => name === inputs[tensor]!.name);
    if (own !== undefined) return own.shape[dimension] ?? 0;
  }
  return 0;
}

/** The sizes of an item along the axes, or what is wrong with them. Its tensors are all there, of the right rank. */
export function extentOf(inputs: readonly TensorSpec[], { axes }: Padding, item: AssembleItem): number[] | ItemFault {
  const extent: number[] = [];
  for (const axis of axes) {
    const sizes = axis.inputs.map(({ tensor, dimension }) => item.tensors[tensor]!.shape[dimension]!);
    const [size = 0] = sizes;
    const name = inputs[axis.inputs[0]!.tensor]!.name;
    if (sizes.some((one) => one !== size)) {
      return { code: "invalid_shape", message: `input "${name}" has another length than one that goes with it` };
    }
    if (size < 1 || paddedSize(axis.sizes, size) === undefined) {
      return { code: "invalid_shape", message: `input "${name}": ${size} is not between 1 and ${axis.sizes.at(-1)}` };
    }
    extent.push(size);
  }
  return extent;
}

/** The sizes that items run with together, by axis: for each the smallest of its sizes that holds all. */
export function paddedExtent({ axes }: Padding, extents: readonly (readonly number[])[]): number[] {
  return axes.map(({ sizes }, axis) => {
    const largest = extents.reduce((most, extent) => Math.max(most, extent[axis]!), 0);
    return paddedSize(sizes, largest) ?? largest;
  });
}

/** A shape with the sizes of the axes in their places. */
export function along(
  shape: readonly number[],
  axes: readonly (readonly AxisPlace[])[],
  { tensor, extent }: { readonly tensor: number; readonly extent: readonly number[] },
): number[] {
  const own = [...shape];
  for (const [axis, axisPlaces] of axes.entries()) {
    for (const place of axisPlaces) if (place.tensor === tensor) own[place.dimension] = extent[axis]!;
  }
  return own;
}

function places(
  rule: Readonly<Record<string, number>>,
  { specs, where }: { readonly specs: readonly TensorSpec[]; readonly where: string },
): AxisPlace[] {
  return Object.entries(rule).map(([name, dimension]) => {
    const tensor = specs.findIndex((spec) => spec.name === name);
    const spec = specs[tensor];
    if (spec === undefined) throw new Error(`${where}: it has no tensor "${name}"`);
    if (spec.shape[dimension] !== FREE) {
      throw new Error(`${where}: dimension ${dimension} of "${name}" [${spec.shape.join(", ")}] is not open`);
    }
    if (DATATYPES[spec.datatype].bytes === 0) throw new Error(`${where}: "${name}" holds texts, which are not padded`);
    return { tensor, dimension };
  });
}

function refuseTwice(all: readonly AxisPlace[], specs: readonly TensorSpec[]): void {
  for (const [i, { tensor, dimension }] of all.entries()) {
    if (!includes(all.slice(0, i), tensor, dimension)) continue;
    throw new Error(`buckets: dimension ${dimension} of "${specs[tensor]!.name}" lies along two axes`);
  }
}

function includes(list: readonly AxisPlace[], tensor: number, dimension: number): boolean {
  return list.some((place) => place.tensor === tensor && place.dimension === dimension);
}
