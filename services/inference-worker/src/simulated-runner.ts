import { elementCount, FREE, type TensorSpec } from "@millrace/protocol";
import type { SimulatedDevice } from "./manifest.ts";
import type { BatchTensor, ModelSignature, Ran, Runner } from "./runner.ts";
import { fromNumbers, joinBytes, splitBytes, toNumbers } from "./typed-data.ts";
import { blockFor } from "./wait.ts";

/** The weights repeat after this many elements. */
const PERIOD = 11;

/**
 * A device that is simulated: a run takes `baseMs + rowMs · rows + elementMs · elements`, blocks its thread, and hardly uses the processor. For tests
 * and benchmarks of everything around a model, where time and answers must be known beforehand.
 *
 * Every row is computed by itself. Let v be the elements of the row in all inputs, in declared order; then element j of the row
 * in an output is
 *
 *     s(j) = Σ v(k) · ((7·k + 13·j) mod 11 − 5)
 *
 * in double precision, brought to the output's datatype (integers cut and wrapped, 0 is false, all else is true). A BYTES element
 * counts as the sum of its bytes. A BYTES output passes the row's BYTES elements through, over and over, or holds s(j) in decimal
 * where the row has none. A model whose first dimension is not free everywhere takes everything as one row.
 */
export class SimulatedRunner implements Runner {
  readonly #device: SimulatedDevice;
  readonly #isBatched: boolean;

  constructor(device: SimulatedDevice) {
    this.#device = device;
    this.#isBatched = [...device.inputs, ...device.outputs].every(({ shape }) => shape[0] === FREE);
  }

  async load(): Promise<ModelSignature> {
    const { inputs, outputs } = this.#device;
    return { inputs, outputs, memoryBytes: 0 };
  }

  async run(inputs: readonly BatchTensor[]): Promise<Ran> {
    const startedNs = process.hrtime.bigint();
    const startedMs = performance.now();
    const rows = this.#isBatched ? (inputs[0]?.shape[0] ?? 1) : 1;
    const columns = inputs.map(({ datatype, data }) => toNumbers(datatype, data));
    const texts = inputs.filter(({ datatype }) => datatype === "BYTES").map(({ data }) => splitBytes(data));
    const sums: Float64Array[] = [];
    for (let row = 0; row < rows; row++) sums.push(sumRow(columns, row, rows));
    const outputs = this.#device.outputs.map((spec) => toOutput(spec, { rows, sums, texts }));
    const { baseMs, rowMs, elementMs = 0 } = this.#device;
    const elements = columns.reduce((sum, { length }) => sum + length, 0);
    blockFor(baseMs + rowMs * rows + elementMs * elements - (performance.now() - startedMs));
    return { outputs, startedNs, computeMs: performance.now() - startedMs };
  }

  async unload(): Promise<void> {}
}

/** s(j) of one row for j from 0 to 10; beyond, it repeats. */
function sumRow(columns: readonly Float64Array[], row: number, rows: number): Float64Array {
  const sums = new Float64Array(PERIOD);
  let k = 0;
  for (const column of columns) {
    const width = column.length / rows;
    for (let i = row * width; i < (row + 1) * width; i++, k++) {
      const value = column[i]!;
      for (let j = 0; j < PERIOD; j++) sums[j]! += value * (((7 * k + 13 * j) % PERIOD) - 5);
    }
  }
  return sums;
}

type Rows = {
  readonly rows: number;
  readonly sums: readonly Float64Array[];
  readonly texts: readonly (readonly Uint8Array[])[];
};

function toOutput(spec: TensorSpec, { rows, sums, texts }: Rows): BatchTensor {
  const { name, datatype } = spec;
  const shape = spec.shape.map((size) => (size === FREE ? rows : size));
  const width = elementCount(shape) / rows;
  if (datatype === "BYTES" && texts.some((text) => text.length > 0)) {
    return { name, datatype, shape, data: passThrough(texts, rows, width) };
  }
  const values = new Float64Array(rows * width);
  for (let i = 0; i < values.length; i++) values[i] = sums[Math.floor(i / width)]![(i % width) % PERIOD]!;
  return { name, datatype, shape, data: fromNumbers(datatype, values) };
}

function passThrough(texts: readonly (readonly Uint8Array[])[], rows: number, width: number): ArrayBuffer {
  const elements: Uint8Array[] = [];
  for (let row = 0; row < rows; row++) {
    const own = texts.flatMap((text) => {
      const perRow = text.length / rows;
      return text.slice(row * perRow, (row + 1) * perRow);
    });
    for (let j = 0; j < width; j++) elements.push(own[j % own.length]!);
  }
  return joinBytes(elements);
}
