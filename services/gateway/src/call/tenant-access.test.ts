import { expect, test } from "vitest";
import { Refusal } from "../http/refusal.ts";
import { parseApiKeys, tenantOf } from "./tenant-access.ts";

const KEYS = parseApiKeys(`# who pays
acme 0123456789abcdef
acme   second-key-of-acme

* a-front-for-everybody
`);

function ask(headers: Record<string, string>, access = { keys: KEYS as typeof KEYS | undefined, isTrusting: false }) {
  const tenant = tenantOf({ header: (name) => headers[name] }, access);
  return tenant instanceof Refusal ? tenant.code : tenant;
}

test("a key tells the tenant, in either header", () => {
  expect(ask({ "x-api-key": "0123456789abcdef" })).toBe("acme");
  expect(ask({ authorization: "Bearer second-key-of-acme" })).toBe("acme");
  expect(ask({ "x-api-key": "0123456789abcdef", "x-tenant": "acme" })).toBe("acme");
});

test("no other key opens, and a key speaks for its own tenant only", () => {
  for (const headers of [
    {},
    { "x-api-key": "" },
    { "x-api-key": "0123456789abcdeF" },
    { "x-api-key": "0123456789abcdef0" },
    { authorization: "Basic 0123456789abcdef" },
    { authorization: "Bearer " },
    { "x-tenant": "acme" },
  ] as Record<string, string>[])
    expect(ask(headers), JSON.stringify(headers)).toBe("unauthenticated");
  expect(ask({ "x-api-key": "0123456789abcdef", "x-tenant": "other" })).toBe("forbidden");
});

test("a key for all names any tenant, or none", () => {
  expect(ask({ "x-api-key": "a-front-for-everybody", "x-tenant": "t/1" })).toBe("t/1");
  expect(ask({ "x-api-key": "a-front-for-everybody" })).toBe("");
  for (const name of ["*", "a b", "ü", "x".repeat(129), "a,b"])
    expect(ask({ "x-api-key": "a-front-for-everybody", "x-tenant": name })).toBe("invalid_request");
});

test("without keys x-tenant is believed only where the operator says so", () => {
  expect(ask({ "x-tenant": "acme" }, { keys: undefined, isTrusting: false })).toBe("");
  expect(ask({ "x-tenant": "acme" }, { keys: undefined, isTrusting: true })).toBe("acme");
  expect(ask({ "x-tenant": "a b" }, { keys: undefined, isTrusting: true })).toBe("invalid_request");
});

test.each([
  ["acme", "line 1 of the API keys: must be TENANT KEY"],
  ["\nacme 0123456789abcdef more", "line 2 of the API keys: must be TENANT KEY"],
  ["acme short", "line 1 of the API keys: a key is 16 to 256 visible ASCII characters"],
  ["a,b 0123456789abcdef", "line 1 of the API keys: a tenant is 1 to 128 letters, digits and _.:@/-, or *"],
  ["a 0123456789abcdef\nb 0123456789abcdef", "line 2 of the API keys: the key is there already"],
  ["# nobody", "the file of API keys has none"],
])("%j is no file of keys, and the message tells no key", (text, message) => {
  expect(() => parseApiKeys(text)).toThrow(message);
  expect(message).not.toContain("0123456789abcdef");
});
