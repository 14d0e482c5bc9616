/** One line of a `/metrics` page. */
export type MetricSample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

/** Reads the samples of a page in Prometheus's text format; comments are passed over. */
export function parseMetrics(text: string): MetricSample[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const [, name = "", labels = "", value = ""] = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    return {
      name,
      labels: Object.fromEntries(pairs.map(([, label = "", text = ""]) => [label, JSON.parse(`"${text}"`) as string])),
      value: value === "+Inf" ? Infinity : Number(value),
    };
  });
}

/** What a process shows at `/metrics` of its admin address. */
export async function readMetrics(admin: string): Promise<MetricSample[]> {
  const response = await fetch(`${admin}/metrics`, { signal: AbortSignal.timeout(5_000) });
  return parseMetrics(await response.text());
}

/**
 * The sum of the samples of a name that have these labels.
 * @throws {RangeError} where there is no sample of the name at all: 0 would be the sum of a metric that does not exist.
 */
export function sumOf(
  samples: readonly MetricSample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const named = samples.filter((sample) => sample.name === name);
  if (named.length === 0) throw new RangeError(`there is no metric ${name}`);
  const wanted = Object.entries(labels);
  return named
    .filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}
