import { COMMON_OPTIONS, defineOptions } from "@millrace/runtime";
import { z } from "zod";

const port = z.number().int().min(0).max(65_535);

/** Every option of the broker. */
export const OPTIONS = defineOptions({
  ...COMMON_OPTIONS,
  host: {
    schema: z.ipv4(),
    default: "127.0.0.1",
    doc: "IPv4 address that both sides are bound to; containers set 0.0.0.0.",
  },
  gatewayPort: { schema: port, default: 5550, doc: "Port for gateways; 0 picks a free one." },
  workerPort: { schema: port, default: 5551, doc: "Port for workers; 0 picks a free one." },
  adminPort: { schema: port, default: 9101, doc: "Port of the admin server; 0 picks a free one." },
  queueRowsMax: {
    schema: z.number().int().min(1).max(10_000_000),
    default: 20_000,
    doc: "Rows that may wait for one model version; beyond it requests are refused with 429.",
  },
  queueBytesMax: {
    schema: z
      .number()
      .int()
      .min(1)
      .max(1024 * 2 ** 30),
    default: 2 ** 30,
    doc: "Bytes of all requests that the broker has, waiting or running; beyond it requests are refused with 429.",
  },
});
