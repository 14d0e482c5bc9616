import type { Logger } from "@millrace/runtime";
import { AccessLog, type AccessLine } from "./access-log.ts";
import type { CallEnd } from "./call-end.ts";

/** How often a second that is over is looked for, in ms: what was left out of it is told even if nothing follows. */
const FLUSH_EVERY_MS = 1000;

/** Writes what the access log decides: the shell of `AccessLog`. */
export class AccessLogger {
  readonly #logger: Logger;
  readonly #log: AccessLog;
  readonly #timer: NodeJS.Timeout;

  /** `sample`: of how many served calls one is logged; 0 = of none. */
  constructor(logger: Logger, sample: number) {
    this.#logger = logger;
    this.#log = new AccessLog(sample);
    this.#timer = setInterval(() => this.#write(this.#log.flush(performance.now())), FLUSH_EVERY_MS);
  }

  ended(end: CallEnd): void {
    this.#write(this.#log.ended(end, performance.now()));
  }

  /** Tells what has been left out so far, and stops. */
  close(): void {
    clearInterval(this.#timer);
    this.#write(this.#log.flush(Infinity));
  }

  #write(lines: readonly AccessLine[]): void {
    for (const { level, fields, text } of lines) this.#logger[level](fields, text);
  }
}
