import { HOOK_EVENTS, type HookEvent } from "@millrace/hooks";
import { byLabel, ByModel, type Counter, type Gauge, type Metrics } from "@millrace/runtime";
import type { GATEWAY_METRICS } from "../metric-table.ts";
import { HOOK_OUTCOMES, type HookOutcome } from "./hook-call.ts";
import { HOOK_NAMES, type HookName } from "./hook-module.ts";
import type { HookObserver } from "./hooked-inference.ts";

/** Records what hooks do. Models without hooks have no series of it. */
export class HookMetrics implements HookObserver {
  readonly #models: ByModel<HookRecorders>;

  constructor(values: Metrics<typeof GATEWAY_METRICS>) {
    this.#models = new ByModel((model) => recordersOf(values, model));
  }

  /** Makes the series of a model that has hooks. */
  know(model: string): void {
    this.#models.of(model);
  }

  began(model: string, hook: HookName): void {
    this.#models.of(model).running[hook].value++;
  }

  left(model: string, hook: HookName): void {
    this.#models.of(model).running[hook].value--;
  }

  ended(model: string, hook: HookName, outcome: HookOutcome): void {
    this.#models.of(model).calls[hook][outcome].add();
  }

  event(model: string, event: HookEvent, times: number): void {
    this.#models.of(model).events[event].add(times);
  }
}

type HookRecorders = {
  readonly running: Readonly<Record<HookName, Gauge>>;
  readonly calls: Readonly<Record<HookName, Readonly<Record<HookOutcome, Counter>>>>;
  readonly events: Readonly<Record<HookEvent, Counter>>;
};

function recordersOf(values: Metrics<typeof GATEWAY_METRICS>, model: string): HookRecorders {
  return {
    running: byLabel(HOOK_NAMES, (hook) => values.gauge("millrace_gateway_hook_running", { model, hook })),
    calls: byLabel(HOOK_NAMES, (hook) =>
      byLabel(HOOK_OUTCOMES, (outcome) =>
        values.counter("millrace_gateway_hook_calls_total", { model, hook, outcome }),
      ),
    ),
    events: byLabel(HOOK_EVENTS, (event) => values.counter("millrace_gateway_hook_events_total", { model, event })),
  };
}
