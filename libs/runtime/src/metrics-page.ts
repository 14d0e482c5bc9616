import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import type { Registry } from "prom-client";
import type { AdminHandler } from "./admin-server.ts";
import { type Family, Histogram, type Labels, type Series } from "./metrics.ts";
import { createProcessRegistry } from "./process-metrics.ts";

/** What a page is written from: the `Metrics` of a role. */
export type MetricsSource = { families(): readonly Family[]; refresh(): void };

/** The event loop is let go on after this time of writing, in ms. */
const PAUSE_AFTER_MS = 1;

/**
 * The page that Prometheus reads, in its text format.
 *
 * Our own metrics are written here and not by prom-client: that writes a whole registry in one go, 16 ms for a few thousand
 * lines, in which no request is served. This takes a tenth, and lets the event loop go on in between. Each series is written in
 * one go, so that a histogram agrees with itself.
 */
export class MetricsPage {
  readonly #metrics: MetricsSource;
  readonly #registry: Registry = createProcessRegistry();
  /** The text of each series up to its values: it never changes. */
  readonly #heads = new WeakMap<Series, readonly string[]>();

  constructor(metrics: MetricsSource) {
    this.#metrics = metrics;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Writes the page. */
  async render(): Promise<string> {
    const pieces: string[] = [];
    this.#metrics.refresh();
    let since = performance.now();
    for (const piece of this.#pieces()) {
      pieces.push(piece);
      if (performance.now() - since < PAUSE_AFTER_MS) continue;
      await setImmediate();
      since = performance.now();
    }
    await setImmediate();
    pieces.push(await this.#registry.metrics());
    await setImmediate();
    return pieces.join("");
  }

  /** Answers `/metrics` of an admin server. */
  readonly handler: AdminHandler = async (_request, response) => {
    const text = await this.render();
    response.writeHead(200, { "content-type": this.contentType, "content-length": Buffer.byteLength(text) });
    response.end(text);
  };

  *#pieces(): Generator<string> {
    for (const family of this.#metrics.families()) {
      yield `# HELP ${family.name} ${escapeHelp(family.row.help)}\n# TYPE ${family.name} ${family.row.type}\n`;
      for (const series of family.series) yield this.#lines(family, series);
    }
  }

  #lines(family: Family, series: Series): string {
    let heads = this.#heads.get(series);
    if (heads === undefined) this.#heads.set(series, (heads = headsOf(family, series)));
    const { recorder } = series;
    if (!(recorder instanceof Histogram)) return `${heads[0]} ${recorder.value}\n`;
    let text = "";
    let count = 0;
    for (const [i, inBucket] of recorder.counts.entries()) {
      count += inBucket;
      text += `${heads[i]} ${count}\n`;
    }
    return `${text}${heads.at(-2)} ${recorder.sum}\n${heads.at(-1)} ${count}\n`;
  }
}

/** The lines of a series without their values. */
function headsOf({ name }: Family, { labels, recorder }: Series): readonly string[] {
  if (!(recorder instanceof Histogram)) return [`${name}${labelText(labels)}`];
  const bounds = [...recorder.bounds].map(String);
  return [
    ...[...bounds, "+Inf"].map((le) => `${name}_bucket${labelText({ ...labels, le })}`),
    `${name}_sum${labelText(labels)}`,
    `${name}_count${labelText(labels)}`,
  ];
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
