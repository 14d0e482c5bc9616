import { readTimeoutHeader } from "./budget.ts";
import type { Exchange } from "./exchange.ts";
import { readPriorityHeader } from "./priority.ts";
import { Refusal } from "./refusal.ts";

/** What the head of an inference call asks for; 0 = not given. */
export type CallHeaders = { readonly timeoutMs: number; readonly priority: number };

/** Reads what a head asks for; what it cannot mean is `invalid_request`. */
export function readCallHeaders(exchange: Pick<Exchange, "header">): CallHeaders | Refusal {
  const timeoutMs = readTimeoutHeader(exchange.header("x-request-timeout-ms"));
  if (timeoutMs instanceof Refusal) return timeoutMs;
  const priority = readPriorityHeader(exchange.header("priority"));
  return priority instanceof Refusal ? priority : { timeoutMs, priority };
}
