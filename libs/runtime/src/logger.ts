import { type DestinationStream, type Logger, pino } from "pino";
import packageJson from "../package.json" with { type: "json" };
import type { LogLevel } from "./common-options.ts";

export type { Logger } from "pino";

/** The version of the Elastic Common Schema that the field names are from. */
const ECS_VERSION = "8.11.0";

/**
 * Makes a logger of a process: one JSON line per record on stdout, written synchronously (nothing is lost at exit), with the
 * names of the Elastic Common Schema; see docs/logs.md.
 *
 * Use fields for what varies: `logger.info({ model: "digits" }, "model ready")` writes `labels.model`, as every name without a
 * dot becomes a label; names with a dot are written as they are and must be ECS names or ours (`millrace.…`). An error goes under
 * the key `error` and becomes `error: {type, message, stack_trace}`. Never log payloads. A reader of the lines that goes away is
 * no error. `destination` is for tests.
 */
export function createLogger(options: {
  readonly role: string;
  /** The process's name, from `processName`. */
  readonly name: string;
  readonly level: LogLevel;
  /** What kind of lines these are, for `event.dataset`; a process has one logger for each. */
  readonly dataset?: string;
  readonly destination?: DestinationStream;
}): Logger {
  return pino(
    {
      level: options.level,
      base: {
        "ecs.version": ECS_VERSION,
        "service.name": `millrace-${options.role}`,
        "service.version": packageJson.version,
        "service.node.name": options.name,
        "event.dataset": `millrace.${options.dataset ?? options.role}`,
      },
      messageKey: "message",
      errorKey: "error",
      timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ "log.level": label }), log: toEcsNames },
      serializers: { error: toEcsError },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

function toEcsNames(fields: Record<string, unknown>): Record<string, unknown> {
  const named = Object.entries(fields).map(([key, value]) => [
    key.includes(".") || key === "error" ? key : `labels.${key}`,
    value,
  ]);
  return Object.fromEntries(named) as Record<string, unknown>;
}

function toEcsError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const cause = error.cause === undefined ? {} : { cause: toEcsError(error.cause) };
  return { type: error.name, message: error.message, ...code, stack_trace: error.stack ?? "", ...cause };
}
