import {
  COMMON_OPTIONS,
  defineOptions,
  environmentName,
  isOwnVariable,
  OptionError,
  type OptionsOf,
  type OptionSource,
  type OptionTable,
  parseGivenOption,
  readGivenOptions,
} from "@millrace/runtime";
import { z } from "zod";

/** The processes that `millrace dev` starts. */
export const ROLES = ["gateway", "broker", "worker"] as const;
export type Role = (typeof ROLES)[number];

const PORT_MAX = 65_535;
const port = z.number().int().min(0).max(PORT_MAX);

/** The options of `millrace dev` itself. Every other option of a role is accepted too, and passed on. */
export const DEV_OPTIONS = defineOptions({
  models: {
    schema: z.string(),
    default: "",
    doc: "Folder of the model repository; empty means ./models where it exists, else the bundled models.",
  },
  host: { schema: z.string().min(1), default: "127.0.0.1", doc: "Address that the gateways listen on." },
  port: {
    schema: port,
    default: 8000,
    doc: "HTTP port of the first gateway, the next ones follow; 0 picks free ports everywhere.",
  },
  gateways: { schema: z.number().int().min(1).max(32), default: 1, doc: "Number of gateways." },
  brokers: { schema: z.number().int().min(1).max(16), default: 1, doc: "Number of brokers; this version runs one." },
  workers: { schema: z.number().int().min(1).max(64), default: 1, doc: "Number of workers." },
  adminPort: {
    schema: port,
    default: 9100,
    doc: "Admin port of the first gateway; the broker, the workers and more gateways follow. 0 picks free ones.",
  },
  logFormat: {
    schema: z.enum(["pretty", "json"]),
    default: "pretty",
    doc: "One readable log, or JSON lines as the processes write them; --pretty and --json are short for it.",
  },
  logLevel: COMMON_OPTIONS.logLevel,
  drainGraceMs: COMMON_OPTIONS.drainGraceMs,
});

export type DevOptions = OptionsOf<typeof DEV_OPTIONS>;

/** The options that each role has, by key. */
export type RoleTables = Readonly<Record<Role, OptionTable>>;

export type Environment = Readonly<Record<string, string>>;

export type DevConfiguration = {
  readonly options: DevOptions;
  /** What to put into the environment of each role's processes, because the user gave it. */
  readonly forwarded: Readonly<Record<Role, Environment>>;
  /** The environment that every process inherits: ours without what is Millrace's. */
  readonly inherited: Environment;
};

/** Keys that mean something else to a role than to `millrace dev`, or that differ from process to process. */
const SET_PER_PROCESS: ReadonlySet<string> = new Set(["name", "host", "port", "brokers", "models", "adminPort"]);

/**
 * Reads the command line and the environment of `millrace dev` and decides which role gets what.
 *
 * @throws {OptionError} for what neither `millrace dev` nor any role knows, and for a value that a role refuses.
 */
export function configureDev(tables: RoleTables, source: OptionSource): DevConfiguration {
  const known: OptionTable = { ...tables.gateway, ...tables.broker, ...tables.worker, ...DEV_OPTIONS };
  const given = readGivenOptions(known, { env: source.env, argv: source.argv.map(expandShorthand) });
  const values: Record<string, unknown> = {};
  for (const [key, row] of Object.entries<OptionTable[string]>(DEV_OPTIONS)) {
    const input = given.get(key);
    values[key] = input === undefined ? row.default : parseGivenOption(row, input);
  }
  const forwarded: Record<Role, Record<string, string>> = { gateway: {}, broker: {}, worker: {} };
  for (const [key, input] of given) {
    if (key === "name") throw new OptionError(`${input.as} is not for dev: its processes are gateway-1, broker-1, …`);
    for (const role of ROLES) {
      const row = tables[role][key];
      if (row === undefined || SET_PER_PROCESS.has(key)) continue;
      parseGivenOption(row, input);
      forwarded[role][environmentName(key)] = input.text;
    }
  }
  const options = values as DevOptions;
  checkCounts(options);
  return { options, forwarded, inherited: inheritedEnvironment(source.env) };
}

/** The environment without `MILLRACE_…` variables, each of which only some roles know. */
function inheritedEnvironment(env: OptionSource["env"]): Environment {
  const inherited: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !isOwnVariable(name)) inherited[name] = value;
  }
  return inherited;
}

function expandShorthand(argument: string): string {
  return argument === "--json" || argument === "--pretty" ? `--log-format=${argument.slice(2)}` : argument;
}

function checkCounts({ brokers, port: first, gateways, adminPort, workers }: DevOptions): void {
  if (brokers !== 1) throw new OptionError(`--brokers ${brokers}: several brokers come with a later version; use 1`);
  if (first + gateways - 1 > PORT_MAX) throw new OptionError(`--port ${first}: no room for ${gateways} gateways`);
  const processes = gateways + brokers + workers;
  if (adminPort + processes - 1 > PORT_MAX) {
    throw new OptionError(`--admin-port ${adminPort}: no room for ${processes} processes`);
  }
}
