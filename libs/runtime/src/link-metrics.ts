import { defineMetrics } from "./metric-table.ts";
import type { Metrics } from "./metrics.ts";

/** What the roles have that connect to brokers. */
export const LINK_METRICS = defineMetrics({
  millrace_reconnects_total: {
    type: "counter",
    unit: "events",
    labels: ["component", "peer"],
    help: "Sessions with a broker that were opened again after one was lost.",
  },
  millrace_discovery_peers: {
    type: "gauge",
    unit: "connections",
    labels: ["component"],
    help: "Brokers that are connected to, whether they answer or not.",
  },
  millrace_discovery_failures_total: {
    type: "counter",
    unit: "events",
    labels: ["component"],
    help: "Looks for the brokers' names that gave nothing; what they gave before stays.",
  },
});

/** The links as they are now. */
export type LinkSource = { readonly discovery: { readonly addresses: number; readonly failures: number } };

/** Counts the sessions with brokers; `watch` the links once they are there. */
export class LinkMetrics {
  readonly #reconnects;
  readonly #peers;
  readonly #failures;
  readonly #metrics: Metrics<typeof LINK_METRICS>;
  #lost = 0;

  constructor(metrics: Metrics<typeof LINK_METRICS>, component: string) {
    this.#metrics = metrics;
    this.#reconnects = metrics.counter("millrace_reconnects_total", { component, peer: "broker" });
    this.#peers = metrics.gauge("millrace_discovery_peers", { component });
    this.#failures = metrics.counter("millrace_discovery_failures_total", { component });
  }

  watch(links: LinkSource): void {
    this.#metrics.onRefresh(() => {
      this.#peers.set(links.discovery.addresses);
      this.#failures.raiseTo(links.discovery.failures);
    });
  }

  opened(): void {
    if (this.#lost === 0) return;
    this.#lost--;
    this.#reconnects.add();
  }

  lost(): void {
    this.#lost++;
  }
}
