import { PRIORITY_NAMES } from "@millrace/protocol";
import { COMMON_OPTIONS, defineOptions } from "@millrace/runtime";
import { CLASS_WEIGHTS_DEFAULT } from "@millrace/scheduling";
import { z } from "zod";

const port = z.number().int().min(0).max(65_535);

/** An item of `tenantWeights`. */
export function toTenantWeight(text: string): readonly [name: string, weight: number] {
  const at = text.lastIndexOf("=");
  return [text.slice(0, at), Number(text.slice(at + 1))];
}

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
  classWeights: {
    schema: z
      .array(z.coerce.number().int().min(1).max(1_000))
      .length(PRIORITY_NAMES.length, `one weight for each of ${PRIORITY_NAMES.join(", ")}`)
      .refine(
        ([realtime = 0, interactive = 0, batch = 0]) => realtime >= interactive + batch && interactive >= batch,
        "each weight must be as large as those of the less urgent classes together",
      ),
    default: [...CLASS_WEIGHTS_DEFAULT],
    doc: `Weights of the classes ${PRIORITY_NAMES.join(", ")}: while one waits it gets at least its part of the rows that leave, whatever more urgent ones wait.`,
  },
  curvesFile: {
    schema: z.string(),
    default: "",
    doc: "File with measured batch times, as GET /curves shows them: where they are of the worker's kind they count until there are samples. Empty means none.",
  },
  tenantWeights: {
    schema: z.array(
      z
        .string()
        .regex(/^[^=]{1,256}=\d{1,4}(\.\d{1,3})?$/, "must be NAME=WEIGHT")
        .refine((text) => toTenantWeight(text)[1] > 0, "a weight must be above 0"),
    ),
    default: [],
    doc: "Weights of tenants, as NAME=WEIGHT: in overload each gets its part of what is let in of a class. All others have 1.",
  },
  hedgePercent: {
    schema: z.number().min(0).max(10),
    default: 0,
    doc: "Late batches that run a second time on an idle slot of another worker, at most this many in 100, while fewer than 70 % of the slots are busy; the first answer counts. 0: none.",
  },
  looseBudgetMs: {
    schema: z.number().int().min(0).max(3_600_000),
    default: 10_000,
    doc: "Requests with more time than this, in milliseconds, that are not of class batch: when their queue stands, the newest go first and the oldest are refused with 429; see docs/priorities.md. 0: each waits as long as it may.",
  },
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
