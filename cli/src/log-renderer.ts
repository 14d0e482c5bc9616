import { stripVTControlCharacters, styleText } from "node:util";

/** One log record of a process, with the ECS names taken apart. */
type LogRecord = {
  readonly at: Date;
  readonly level: string;
  readonly message: string;
  readonly fields: readonly (readonly [string, unknown])[];
};

type Style = Parameters<typeof styleText>[0];

const LEVEL_STYLES: Readonly<Record<string, Style>> = {
  trace: "gray",
  debug: "gray",
  info: "green",
  warn: "yellow",
  error: "red",
  fatal: ["red", "bold"],
};
const PREFIX_STYLES: readonly Style[] = ["cyan", "magenta", "blue", "yellow", "green", "redBright"];

/** Fields that every record has: the prefix and the columns show them, or nobody needs them here. */
const LEFT_OUT = new Set([
  "@timestamp",
  "log.level",
  "message",
  "ecs.version",
  "service.name",
  "service.version",
  "service.node.name",
  "event.dataset",
]);

/** What our own names have before them in a record. */
const LABEL_PREFIX = /^labels\./;

const LEVEL_WIDTH = 5;

/** Renders the lines of several processes as one log: `HH:MM:SS.mmm LEVEL prefix | message key=value…`, local time. */
export class LogRenderer {
  readonly #prefixes: readonly string[];
  readonly #width: number;
  readonly #colour: boolean;

  /** `prefixes`: the names of all processes; they share the width of the longest. */
  constructor(options: { readonly prefixes: readonly string[]; readonly colour: boolean }) {
    this.#prefixes = options.prefixes;
    this.#width = Math.max(0, ...options.prefixes.map((prefix) => prefix.length));
    this.#colour = options.colour;
  }

  /**
   * Renders one line of a process, without a line end. A JSON log record gets its columns, and the stack of its error
   * follows on lines of their own; anything else is passed through behind the prefix, with `now` as its time.
   */
  render(prefix: string, line: string, now: Date): string {
    const record = parseRecord(line);
    if (record === undefined) {
      return `${this.#head({ prefix, at: now, level: "" })}${this.#colour ? line : stripVTControlCharacters(line)}`;
    }
    const head = this.#head({ prefix, at: record.at, level: record.level });
    const stacks: string[] = [];
    const fields = record.fields.map(([key, value]) => {
      const stack = stackOf(value);
      if (stack !== "") stacks.push(...stack.split("\n"));
      return ` ${this.#paint("gray", `${key.replace(LABEL_PREFIX, "")}=`)}${toFieldText(value)}`;
    });
    const lines = [`${head}${escapeControls(record.message)}${fields.join("")}`];
    for (const stack of stacks) lines.push(`${head}  ${this.#paint("gray", escapeControls(stack.trim()))}`);
    return lines.join("\n");
  }

  #head({ prefix, at, level }: { prefix: string; at: Date; level: string }): string {
    const time = this.#paint("gray", toClock(at));
    const style = LEVEL_STYLES[level];
    const padded = level.toUpperCase().padEnd(LEVEL_WIDTH);
    const name = this.#paint(this.#prefixStyle(prefix), prefix.padEnd(this.#width));
    return `${time} ${style === undefined ? padded : this.#paint(style, padded)} ${name} | `;
  }

  #prefixStyle(prefix: string): Style {
    const at = Math.max(0, this.#prefixes.indexOf(prefix));
    return PREFIX_STYLES[at % PREFIX_STYLES.length] ?? "cyan";
  }

  #paint(style: Style, text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text;
  }
}

function parseRecord(line: string): LogRecord | undefined {
  if (!line.startsWith("{")) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const values = new Map<string, unknown>(Object.entries(parsed));
  const level = values.get("log.level");
  const message = values.get("message") ?? "";
  const at = new Date(String(values.get("@timestamp")));
  if (typeof level !== "string" || typeof message !== "string" || Number.isNaN(at.getTime())) return undefined;
  return { at, level, message, fields: [...values].filter(([key]) => !LEFT_OUT.has(key)) };
}

function toFieldText(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value);
  if (isErrorFields(value)) return JSON.stringify(`${value.type}: ${value.message}`);
  return JSON.stringify(value) ?? "undefined";
}

type ErrorFields = { readonly type: string; readonly message: string; readonly stack_trace: string };

function isErrorFields(value: unknown): value is ErrorFields {
  return (
    typeof value === "object" &&
    value !== null &&
    "type" in value &&
    "message" in value &&
    "stack_trace" in value &&
    typeof value.stack_trace === "string"
  );
}

/** The frames of an error and of its causes; the first line of a stack repeats type and message, shown already. */
function stackOf(value: unknown): string {
  if (!isErrorFields(value)) return "";
  const frames = value.stack_trace.split("\n").filter((line) => line.trimStart().startsWith("at "));
  const cause: unknown = "cause" in value ? value.cause : undefined;
  const causes = isErrorFields(cause) ? [`caused by ${cause.type}: ${cause.message}`, stackOf(cause)] : [];
  return [...frames, ...causes].filter((line) => line !== "").join("\n");
}

/** A log line must not steer the terminal: what clients send ends up in messages. */
function escapeControls(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}

function toClock(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const milliseconds = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${milliseconds}`;
}
