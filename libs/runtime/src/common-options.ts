import { hostname } from "node:os";
import { z } from "zod";
import { defineOptions } from "./options.ts";
import { parseTestDelay } from "./test-delay.ts";

/** Least severe level that is logged. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The rows that every role has. A role's table is `defineOptions({ ...COMMON_OPTIONS, … })`. */
export const COMMON_OPTIONS = defineOptions({
  name: {
    schema: z
      .string()
      .max(128)
      .regex(/^[\w.:-]*$/, "letters, digits and . _ : - only"),
    default: "",
    doc: "Name of this process in logs, metrics and answers, unique in its role; empty means <role>-<host>-<pid>.",
  },
  logLevel: {
    schema: z.enum(LOG_LEVELS),
    default: "info",
    doc: "Least severe level that is logged.",
  },
  commit: {
    schema: z.string().regex(/^[\w.+-]{1,64}$/, "1 to 64 letters, digits and . _ + -"),
    default: "unknown",
    doc: "Commit that this was built from, for millrace_build_info; images are built with it.",
  },
  adminHost: {
    schema: z.string().min(1),
    default: "127.0.0.1",
    doc: "Address that the admin server listens on; containers set 0.0.0.0.",
  },
  metrics: {
    schema: z.boolean(),
    default: true,
    doc: "Record what requests do, for /metrics and the dashboard; without it they show the process and its levels only.",
  },
  drainGraceMs: {
    schema: z.number().int().min(0).max(3_600_000),
    default: 30_000,
    doc: "How long a drain may last before the process ends anyway, in milliseconds.",
  },
  testDelay: {
    schema: z.string().superRefine((text, context) => {
      try {
        parseTestDelay(text);
      } catch (error) {
        context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      }
    }),
    default: "",
    doc: "For tests only: sleep inside stages, as stage:ms[,stage:ms].",
  },
});

/** The name of a process: the option `name`, or `<role>-<host>-<pid>` where that is empty. */
export function processName(role: string, name: string): string {
  return name === "" ? `${role}-${hostname()}-${process.pid}` : name;
}
