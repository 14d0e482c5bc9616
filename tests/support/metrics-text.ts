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

/** The sum of the samples of a name that have these labels. */
export function sumOf(
  samples: readonly MetricSample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels);
  return samples
    .filter((sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}
