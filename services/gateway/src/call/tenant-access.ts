import { hash } from "node:crypto";
import type { Exchange } from "../http/exchange.ts";
import { describe, Refusal } from "../http/refusal.ts";

/** In the place of a tenant: the key may speak for any, by `x-tenant`. */
const ANY = "*";

const TENANT = /^[\w.:@/-]{1,128}$/;
const KEY = /^[\x21-\x7e]{16,256}$/;

/** Tenants by the SHA-256 of their keys. Who looks one up by time learns nothing of a key: only digests are compared. */
export type ApiKeys = ReadonlyMap<string, string>;

/**
 * Reads a file of keys: `TENANT KEY` a line; empty lines and those that begin with # say nothing. A tenant may have several keys.
 *
 * @throws {Error} that names the line, and never a key.
 */
export function parseApiKeys(text: string): ApiKeys {
  const keys = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [tenant = "", key = "", ...more] = line.trim().split(/\s+/);
    const fault = (what: string): Error => new Error(`line ${index + 1} of the API keys: ${what}`);
    if (more.length > 0 || key === "") throw fault("must be TENANT KEY");
    if (tenant !== ANY && !TENANT.test(tenant)) throw fault("a tenant is 1 to 128 letters, digits and _.:@/-, or *");
    if (!KEY.test(key)) throw fault("a key is 16 to 256 visible ASCII characters");
    if (keys.has(digestOf(key))) throw fault("the key is there already");
    keys.set(digestOf(key), tenant);
  }
  if (keys.size === 0) throw new Error("the file of API keys has none");
  return keys;
}

function digestOf(key: string): string {
  return hash("sha256", key);
}

/** Whom a gateway believes. `keys`: who may call, and for whom; undefined: everybody may. `isTrusting`: `x-tenant` is believed without a key. */
export type TenantAccess = { readonly keys: ApiKeys | undefined; readonly isTrusting: boolean };

/**
 * The tenant of a call, "" for nobody in particular. With keys: of its key, which is in `x-api-key` or `Authorization: Bearer`; a key for
 * all may name one by `x-tenant`. `unauthenticated`: no key, or an unknown one; `forbidden`: the key is another tenant's.
 */
export function tenantOf(exchange: Pick<Exchange, "header">, { keys, isTrusting }: TenantAccess): string | Refusal {
  if (keys === undefined) return isTrusting ? namedTenant(exchange) : "";
  const key = exchange.header("x-api-key") ?? /^Bearer +(\S+)$/i.exec(exchange.header("authorization") ?? "")?.[1];
  const tenant = key === undefined ? undefined : keys.get(digestOf(key));
  if (tenant === undefined) {
    const what = key === undefined ? "no API key" : "an unknown API key";
    return new Refusal("unauthenticated", `${what}: give one in x-api-key or Authorization: Bearer`);
  }
  const named = namedTenant(exchange);
  if (tenant === ANY || named instanceof Refusal) return named;
  if (named !== "" && named !== tenant) {
    return new Refusal("forbidden", `the API key may not speak for the tenant ${describe(named)}`);
  }
  return tenant;
}

function namedTenant(exchange: Pick<Exchange, "header">): string | Refusal {
  const name = exchange.header("x-tenant") ?? "";
  if (name === "" || TENANT.test(name)) return name;
  return new Refusal(
    "invalid_request",
    `x-tenant must be 1 to 128 letters, digits and _.:@/-, it is ${describe(name)}`,
  );
}
