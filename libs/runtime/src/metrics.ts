import type { MetricRow, MetricTable } from "./metric-table.ts";

/** A number that only grows. */
export class Counter {
  readonly #cell = new Float64Array(1);

  get value(): number {
    return this.#cell[0]!;
  }

  /** Adds `amount` ≥ 0. */
  add(amount = 1): void {
    this.#cell[0]! += amount;
  }

  /** Takes over a total that is kept elsewhere; one that is smaller, by rounding, changes nothing. */
  raiseTo(total: number): void {
    if (total > this.#cell[0]!) this.#cell[0] = total;
  }
}

/** A level. */
export class Gauge {
  value = 0;

  set(value: number): void {
    this.value = value;
  }
}

/** Observations by bucket. `observe` allocates nothing and takes some 15 ns. */
export class Histogram {
  /** The upper bounds, ascending. */
  readonly bounds: Float64Array;
  /** Observations of each bucket, ever: those up to its bound and above the one before; the last: above all bounds. */
  readonly counts: Float64Array;
  readonly #sum = new Float64Array(1);

  constructor(bounds: Float64Array) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Sum of all observations. */
  get sum(): number {
    return this.#sum[0]!;
  }

  /** Number of all observations. */
  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** Notes one value, `times` times, in the unit of the metric. */
  observe(value: number, times = 1): void {
    const { bounds } = this;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[middle]! < value) low = middle + 1;
      else high = middle;
    }
    this.counts[low]! += times;
    this.#sum[0]! += value * times;
  }
}

type RecorderOf<Type extends MetricRow["type"]> = { counter: Counter; gauge: Gauge; histogram: Histogram }[Type];

/** A recorder for each value that a label has. */
export function byLabel<const Value extends string, Recorder>(
  values: readonly Value[],
  make: (value: Value) => Recorder,
): Record<Value, Recorder> {
  return Object.fromEntries(values.map((value) => [value, make(value)])) as Record<Value, Recorder>;
}

/** The labels of one series, in the order of the table. */
export type Labels = Readonly<Record<string, string>>;

/** One set of label values of a metric, with what records it. */
export type Series<Recorder = Counter | Gauge | Histogram> = { readonly labels: Labels; readonly recorder: Recorder };

/** A metric with every series that it has. */
export type Family = { readonly name: string; readonly row: MetricRow; readonly series: readonly Series[] };

type FamilyState = {
  readonly row: MetricRow;
  readonly bounds: Float64Array;
  readonly byKey: Map<string, Series>;
};

type NamesOf<Table extends MetricTable, Type extends MetricRow["type"]> = {
  [Name in keyof Table & string]: Table[Name]["type"] extends Type ? Name : never;
}[keyof Table & string];

type LabelsOf<Row extends MetricRow> = { readonly [Label in Row["labels"][number]]: string };

/**
 * The metrics of a process: what its table names, each with a recorder a set of label values. A series is asked for when its
 * label values become known, and is shown with 0 from then on; hot paths hold the recorder and nothing else.
 */
export class Metrics<const Table extends MetricTable> {
  readonly #families: ReadonlyMap<string, FamilyState>;
  readonly #refreshers: (() => void)[] = [];

  constructor(table: Table) {
    this.#families = new Map(
      Object.entries<MetricRow>(table).map(([name, row]) => {
        const bounds = Float64Array.from(row.type === "histogram" ? row.buckets : []);
        return [name, { row, bounds, byKey: new Map() }];
      }),
    );
  }

  counter<Name extends NamesOf<Table, "counter">>(name: Name, labels: LabelsOf<Table[Name]>): Counter {
    return this.#recorder(name, labels, () => new Counter());
  }

  gauge<Name extends NamesOf<Table, "gauge">>(name: Name, labels: LabelsOf<Table[Name]>): Gauge {
    return this.#recorder(name, labels, () => new Gauge());
  }

  histogram<Name extends NamesOf<Table, "histogram">>(name: Name, labels: LabelsOf<Table[Name]>): Histogram {
    return this.#recorder(name, labels, ({ bounds }) => new Histogram(bounds));
  }

  /** Drops every series of a gauge, for one whose label values are anew each time that it is refreshed. */
  clear(name: NamesOf<Table, "gauge">): void {
    this.#families.get(name)!.byKey.clear();
  }

  /** Registers what sets the values that are known only when asked for, such as the length of a queue. */
  onRefresh(refresher: () => void): void {
    this.#refreshers.push(refresher);
  }

  /** Sets them. Whoever reads calls it first. */
  refresh(): void {
    for (const refresher of this.#refreshers) refresher();
  }

  /** Every series of one metric, as it stands; the recorders go on counting. */
  series<Name extends keyof Table & string>(name: Name): readonly Series<RecorderOf<Table[Name]["type"]>>[] {
    return [...this.#families.get(name)!.byKey.values()] as Series<RecorderOf<Table[Name]["type"]>>[];
  }

  /** Every metric in the order of the table. */
  families(): readonly Family[] {
    return [...this.#families].map(([name, { row, byKey }]) => ({ name, row, series: [...byKey.values()] }));
  }

  #recorder<Recorder extends Counter | Gauge | Histogram>(
    name: string,
    labels: Labels,
    create: (family: FamilyState) => Recorder,
  ): Recorder {
    const family = this.#families.get(name)!;
    const key = JSON.stringify(family.row.labels.map((label) => labels[label]));
    const known = family.byKey.get(key);
    if (known !== undefined) return known.recorder as Recorder;
    const recorder = create(family);
    const ordered = Object.fromEntries(family.row.labels.map((label) => [label, labels[label] ?? ""]));
    family.byKey.set(key, { labels: ordered, recorder });
    return recorder;
  }
}
