import { z } from "zod";

/**
 * One option. The key of its row in the table is its name in camelCase with the unit last (`requestTimeoutMs`), and the
 * names of its environment variable and flag follow from the key.
 *
 * The text that a user gives is converted by the type of `default` before `schema` sees it: a number must be decimal
 * (so "" and "0x10" are refused instead of becoming 0 and 16), a boolean `true|false|1|0`, and where `schema` is a
 * `z.array` the text is split at commas. So write `z.number()` and `z.boolean()`; `z.coerce.number()` works as well.
 */
export type OptionRow<T> = {
  readonly schema: z.ZodType<T>;
  /** What holds when the user gives nothing. Not passed through `schema`. */
  readonly default: T;
  /** One sentence for `--help` and the generated reference. */
  readonly doc: string;
};

/** Every option of a role: key → row. */
export type OptionTable = Readonly<Record<string, OptionRow<unknown>>>;

/** The values that a table describes; no key is optional. */
export type OptionsOf<Table extends OptionTable> = {
  readonly [Key in keyof Table]: Table[Key] extends OptionRow<infer Value> ? Value : never;
};

/**
 * The user gave an option that does not exist, or a value that is not allowed or cannot be had (a port in use). The
 * message is for the user, without a stack; the exit code is 2.
 */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

/** One row of the generated reference. */
export type OptionDescription = {
  readonly key: string;
  readonly env: string;
  readonly flag: string;
  /** What values are allowed, in words, e.g. "integer from 0 to 65535"; "" when any text is. */
  readonly allowed: string;
  /** The default as a user would write it. */
  readonly default: string;
  readonly doc: string;
};

const ENVIRONMENT_PREFIX = "MILLRACE_";

/** Types a table of options: checks that each default has its schema's type. Keys must be camelCase. */
export function defineOptions<const Values extends Record<string, unknown>>(table: {
  readonly [Key in keyof Values]: OptionRow<Values[Key]>;
}): { readonly [Key in keyof Values]: OptionRow<Values[Key]> } {
  for (const key of Object.keys(table)) {
    if (!/^[a-z][a-zA-Z0-9]*$/.test(key)) throw new TypeError(`option "${key}" is not camelCase`);
  }
  return table;
}

/** The environment variable of an option: `requestTimeoutMs` → `MILLRACE_REQUEST_TIMEOUT_MS`. */
export function environmentName(key: string): string {
  return ENVIRONMENT_PREFIX + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** The flag of an option: `requestTimeoutMs` → `--request-timeout-ms`. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Whether a process of ours claims this environment variable: such a name must belong to an option. */
export function isOwnVariable(name: string): boolean {
  return name.startsWith(ENVIRONMENT_PREFIX);
}

/** A text that the user gave for an option, and where: the flag or the environment variable, for messages. */
export type GivenOption = { readonly as: string; readonly text: string };

/** Where options come from: `process.env` and the arguments after the command. */
export type OptionSource = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly argv: readonly string[];
};

/**
 * Reads a role's options. A flag wins over the environment, the environment over the default. Flags are
 * `--name VALUE` or `--name=VALUE`; a boolean's `--name` alone means true.
 *
 * @throws {OptionError} for an unknown flag or `MILLRACE_…` variable, a repeated flag, a missing value, an argument
 * that is no flag, or a value that the schema refuses.
 */
export function loadOptions<Table extends OptionTable>(table: Table, from: OptionSource): OptionsOf<Table> {
  const given = readGivenOptions(table, from);
  const values: Record<string, unknown> = {};
  for (const [key, row] of Object.entries(table)) {
    const input = given.get(key);
    values[key] = input === undefined ? row.default : parseGivenOption(row, input);
  }
  return values as OptionsOf<Table>;
}

/**
 * The texts that the user gave, by key, before their values are looked at: for a program that passes options on.
 *
 * @throws {OptionError} as `loadOptions`, except for values.
 */
export function readGivenOptions(table: OptionTable, from: OptionSource): ReadonlyMap<string, GivenOption> {
  const given = readFlags(table, from.argv);
  const keyOfVariable = new Map(Object.keys(table).map((key) => [environmentName(key), key]));
  for (const [variable, text] of Object.entries(from.env)) {
    if (text === undefined || !isOwnVariable(variable)) continue;
    const key = keyOfVariable.get(variable);
    if (key === undefined) throw new OptionError(unknownVariable(variable, [...keyOfVariable.keys()]));
    if (!given.has(key)) given.set(key, { as: variable, text });
  }
  return given;
}

/**
 * The value of a text that the user gave.
 *
 * @throws {OptionError} that names the flag or variable, the text and what is allowed.
 */
export function parseGivenOption<T>(row: OptionRow<T>, { as, text }: GivenOption): T {
  const converted = convertText(row, text);
  const result = converted === undefined ? undefined : row.schema.safeParse(converted);
  if (result?.success) return result.data;
  // What is wrong with one item of a list says more than that a list is expected.
  const allowed = row.schema instanceof z.ZodArray ? "" : describeAllowed(row);
  const reason = allowed === "" ? (result?.error.issues[0]?.message ?? "") : `expected ${allowed}`;
  throw new OptionError(`${as}: "${text}" is not allowed; ${reason} (${row.doc})`);
}

/** The reference of a table, one row per option in the table's order. */
export function describeOptions(table: OptionTable): readonly OptionDescription[] {
  return Object.entries(table).map(([key, row]) => ({
    key,
    env: environmentName(key),
    flag: flagName(key),
    allowed: describeAllowed(row),
    default: Array.isArray(row.default) ? row.default.join(",") : String(row.default),
    doc: row.doc,
  }));
}

/** The options part of a `--help` text: two lines per option, indented by two, no line break at the end. */
export function helpOfOptions(table: OptionTable): string {
  return describeOptions(table)
    .map(({ flag, allowed, default: value, doc, env }) => {
      const facts = [allowed, value === "" ? "" : `default ${value}`, env].filter((fact) => fact !== "");
      return `  ${flag}\n      ${doc} [${facts.join("; ")}]`;
    })
    .join("\n");
}

function readFlags(table: OptionTable, argv: readonly string[]): Map<string, GivenOption> {
  const keyOfFlag = new Map(Object.keys(table).map((key) => [flagName(key), key]));
  const given = new Map<string, GivenOption>();
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? "";
    if (!argument.startsWith("--"))
      throw new OptionError(`unexpected argument "${argument}": options are --name VALUE`);
    const equals = argument.indexOf("=");
    const flag = equals < 0 ? argument : argument.slice(0, equals);
    const key = keyOfFlag.get(flag);
    const row = key === undefined ? undefined : table[key];
    if (key === undefined || row === undefined) {
      throw new OptionError(`unknown option ${flag}${suggestion(flag, [...keyOfFlag.keys()])}`);
    }
    if (given.has(key)) throw new OptionError(`${flag} is given twice`);
    const next = argv[at + 1];
    if (equals >= 0) {
      given.set(key, { as: flag, text: argument.slice(equals + 1) });
    } else if (typeof row.default === "boolean" && (next === undefined || !isBooleanText(next))) {
      given.set(key, { as: flag, text: "true" });
    } else if (next === undefined || next.startsWith("--")) {
      throw new OptionError(`${flag} needs a value: ${row.doc}`);
    } else {
      given.set(key, { as: flag, text: next });
      at += 1;
    }
  }
  return given;
}

/** The input for the schema, or undefined where the text has not the form of the option's type. */
function convertText(row: OptionRow<unknown>, text: string): unknown {
  if (typeof row.default === "boolean") return isBooleanText(text) ? text === "true" || text === "1" : undefined;
  if (typeof row.default === "number") return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
  if (row.schema instanceof z.ZodArray) {
    return text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  }
  return text;
}

function isBooleanText(text: string): boolean {
  return text === "true" || text === "false" || text === "1" || text === "0";
}

type JsonSchema = {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
};

function describeAllowed(row: OptionRow<unknown>): string {
  if (typeof row.default === "boolean") return "true or false";
  const schema = z.toJSONSchema(row.schema, { unrepresentable: "any" }) as JsonSchema;
  if (schema.enum !== undefined) return `one of ${schema.enum.join(", ")}`;
  if (schema.type === "array") return "a list with commas";
  if (schema.type !== "integer" && schema.type !== "number") return "";
  const bounds = [
    schema.minimum === undefined || schema.minimum <= Number.MIN_SAFE_INTEGER ? "" : `from ${schema.minimum}`,
    schema.exclusiveMinimum === undefined ? "" : `above ${schema.exclusiveMinimum}`,
    schema.maximum === undefined || schema.maximum >= Number.MAX_SAFE_INTEGER ? "" : `to ${schema.maximum}`,
    schema.exclusiveMaximum === undefined ? "" : `below ${schema.exclusiveMaximum}`,
  ];
  return [schema.type, ...bounds].filter((part) => part !== "").join(" ");
}

/** Kubernetes and Docker links inject variables named after services; a service called `millrace-…` hits our prefix. */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$/;

function unknownVariable(variable: string, known: readonly string[]): string {
  const hint = SERVICE_LINK.test(variable) ? "; if Kubernetes made it, set enableServiceLinks: false in the pod" : "";
  return `unknown environment variable ${variable}${suggestion(variable, known)}${hint}`;
}

/** ` (did you mean X?)` where one known name is close, apart from what all of them begin with, else "". */
function suggestion(name: string, known: readonly string[]): string {
  const [bare, ...bares] = [name, ...known].map((text) => text.replace(COMMON_START, ""));
  let best = "";
  let bestDistance = 1 + Math.min(4, Math.floor(bare!.length / 3));
  for (const [at, candidate] of bares.entries()) {
    const distance = editDistance(bare!, candidate);
    if (distance < bestDistance) [best, bestDistance] = [known[at]!, distance];
  }
  return best === "" ? "" : ` (did you mean ${best}?)`;
}

const COMMON_START = new RegExp(`^(?:--|${ENVIRONMENT_PREFIX})`);

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours; O(a·b) time, O(b) memory. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const [here, there] = [a[row - 1], b[column - 1]];
      const substitution = (previous[column - 1] ?? 0) + (here === there ? 0 : 1);
      const isSwap = row > 1 && column > 1 && here === b[column - 2] && a[row - 2] === there;
      const swap = isSwap ? (beforePrevious[column - 2] ?? 0) + 1 : Infinity;
      current.push(Math.min(substitution, swap, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    [beforePrevious, previous] = [previous, current];
  }
  return previous[b.length] ?? 0;
}
