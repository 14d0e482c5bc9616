import { type DestinationStream, type Logger, pino } from "pino";
import type { LogLevel } from "./common-options.ts";

export type { Logger } from "pino";

/**
 * Makes the logger of a process: one JSON line per record on stdout, written synchronously (nothing is lost at exit),
 * with Elastic Common Schema names: `@timestamp`, `log.level`, `message`, `service.name`, `service.node.name`.
 *
 * Use fields for what varies: `logger.info({ model: "digits" }, "model ready")`; an error goes under the key `error` and
 * becomes ECS `error: {type, message, stack_trace}`. Never log payloads. A reader of the lines that goes away is no
 * error. `destination` is for tests.
 */
export function createLogger(options: {
  readonly role: string;
  /** The process's name, from `processName`. */
  readonly name: string;
  readonly level: LogLevel;
  readonly destination?: DestinationStream;
}): Logger {
  return pino(
    {
      level: options.level,
      base: { "service.name": `millrace-${options.role}`, "service.node.name": options.name },
      messageKey: "message",
      errorKey: "error",
      timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ "log.level": label }) },
      serializers: { error: toEcsError, err: toEcsError },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

function toEcsError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const cause = error.cause === undefined ? {} : { cause: toEcsError(error.cause) };
  return { type: error.name, message: error.message, ...code, stack_trace: error.stack ?? "", ...cause };
}
