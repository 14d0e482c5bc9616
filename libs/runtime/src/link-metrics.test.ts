import { beforeEach, expect, test } from "vitest";
import { LINK_METRICS, LinkMetrics } from "./link-metrics.ts";
import { Metrics } from "./metrics.ts";

let values: Metrics<typeof LINK_METRICS>;
let links: LinkMetrics;

beforeEach(() => {
  values = new Metrics(LINK_METRICS);
  links = new LinkMetrics(values, "worker");
});

function reconnects(): number {
  return values.counter("millrace_reconnects_total", { component: "worker", peer: "broker" }).value;
}

test("a session that is opened counts as a reconnect where one with the same broker was lost, once", () => {
  links.opened("a");
  expect(reconnects()).toBe(0);
  links.lost("a");
  links.opened("b");
  expect(reconnects()).toBe(0);
  links.opened("a");
  links.opened("c");
  expect(reconnects()).toBe(1);
});

test("rollouts are no reconnects: the new broker is there before the old is lost, and the old one never comes back", () => {
  links.opened("a");
  for (const [old, next] of ["ab", "bc", "cd"]) {
    links.opened(next!);
    links.lost(old!);
    links.givenUp(old!);
  }
  links.opened("a");
  expect(reconnects()).toBe(0);
});

test("the links are shown as they are when somebody reads", () => {
  links.watch({ discovery: { addresses: 2, failures: 7 } });
  values.refresh();
  expect(values.gauge("millrace_discovery_peers", { component: "worker" }).value).toBe(2);
  expect(values.counter("millrace_discovery_failures_total", { component: "worker" }).value).toBe(7);
});
