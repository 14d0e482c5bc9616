import { defineMetrics } from "./metric-table.ts";
import type { Metrics } from "./metrics.ts";

/** What the roles have that connect to brokers. */
export const LINK_METRICS = defineMetrics({
  millrace_reconnects_total: {
    type: "counter",
    unit: "events",
    labels: ["component", "peer"],
    help: "Sessions that were opened again with a broker to which one was lost; the first with one at a new address is none.",
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

/** Counts the sessions with brokers, each by its address; `watch` the links once they are there. */
export class LinkMetrics {
  readonly #reconnects;
  readonly #peers;
  readonly #failures;
  readonly #metrics: Metrics<typeof LINK_METRICS>;
  /** Addresses of brokers whose session was lost and is not open again. */
  readonly #lost = new Set<string>();

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

  /** A session is open. */
  opened(address: string): void {
    if (this.#lost.delete(address)) this.#reconnects.add();
  }

  /** A session that was open is lost. */
  lost(address: string): void {
    this.#lost.add(address);
  }

  /** Nobody connects there any more: in a rollout brokers go for good, and others come. */
  givenUp(address: string): void {
    this.#lost.delete(address);
  }
}
