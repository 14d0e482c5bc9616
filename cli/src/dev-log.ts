import { createLogger, type Logger } from "@millrace/runtime";
import type { DevOptions } from "./dev-configuration.ts";
import { LogRenderer } from "./log-renderer.ts";

/** The prefix of what `millrace dev` itself says. */
const OWN_NAME = "millrace";

/** Where the log goes, e.g. `process.stderr`. */
export type LogStream = { write(text: string): unknown; readonly isTTY?: boolean | undefined };

/** The one log of `millrace dev`: the lines of all processes and its own, in the order of their arrival. */
export class DevLog {
  /** For what `millrace dev` itself has to say. */
  readonly logger: Logger;
  readonly #stream: LogStream;
  readonly #renderer: LogRenderer | undefined;

  /** `names`: the names of all processes. `env` may hold NO_COLOR and TERM. */
  constructor(options: {
    readonly names: readonly string[];
    readonly format: DevOptions["logFormat"];
    readonly level: DevOptions["logLevel"];
    readonly stream: LogStream;
    readonly env: Readonly<Record<string, string | undefined>>;
  }) {
    this.#stream = options.stream;
    const { isTTY = false } = options.stream;
    const colour = isTTY && (options.env["NO_COLOR"] ?? "") === "" && options.env["TERM"] !== "dumb";
    const prefixes = [OWN_NAME, ...options.names];
    this.#renderer = options.format === "pretty" ? new LogRenderer({ prefixes, colour }) : undefined;
    const destination = { write: (text: string) => this.line(OWN_NAME, text.trimEnd()) };
    this.logger = createLogger({ role: "dev", name: OWN_NAME, level: options.level, destination });
  }

  /** Takes one line of a process. */
  line(name: string, line: string): void {
    this.#stream.write(`${this.#renderer?.render(name, line, new Date()) ?? line}\n`);
  }
}
