import { z } from "zod";
import { dnsServersSchema } from "./broker-address.ts";
import { defineOptions } from "./options.ts";

/** The rows of the roles that look for brokers, beside `brokers`, whose default port is the role's. */
export const DISCOVERY_OPTIONS = defineOptions({
  discoveryIntervalMs: {
    schema: z.number().int().min(50).max(60_000),
    default: 2000,
    doc: "How long to wait before the names of brokers are resolved again, in milliseconds.",
  },
  dnsServers: {
    schema: dnsServersSchema,
    default: [],
    doc: "DNS servers to ask, IP or IP:PORT, with commas between; empty means what the system has.",
  },
});
