import { readTimeoutHeader } from "../call/budget.ts";
import type { Exchange } from "./exchange.ts";
import { readPriorityHeader } from "../call/priority.ts";
import { Refusal } from "./refusal.ts";
import { type TenantAccess, tenantOf } from "../call/tenant-access.ts";

/** What the head of an inference call asks for, and for whom; 0, "" = not given. */
export type CallHeaders = { readonly timeoutMs: number; readonly priority: number; readonly tenant: string };

/** Reads what a head asks for; what it cannot mean is `invalid_request`. For the tenant see `tenantOf`. */
export function readCallHeaders(exchange: Pick<Exchange, "header">, access: TenantAccess): CallHeaders | Refusal {
  const tenant = tenantOf(exchange, access);
  if (tenant instanceof Refusal) return tenant;
  const timeoutMs = readTimeoutHeader(exchange.header("x-request-timeout-ms"));
  if (timeoutMs instanceof Refusal) return timeoutMs;
  const priority = readPriorityHeader(exchange.header("priority"));
  return priority instanceof Refusal ? priority : { timeoutMs, priority, tenant };
}
