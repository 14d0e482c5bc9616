#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { helpOfOptions, OptionError, type OptionTable, runMain } from "@millrace/runtime";
import { benchHelp, runBench } from "./bench.ts";
import { checkHelp, runCheck } from "./check.ts";
import { devHelp, runDev } from "./dev.ts";

/** A subcommand. `help` is the text of `millrace NAME --help`. */
type Command = {
  readonly doc: string;
  readonly help: () => string | Promise<string>;
  readonly run: (argv: string[]) => Promise<void>;
};

/** The package of one role, as far as it is used here; loaded only when it is needed. */
type RoleModules = {
  readonly config: () => Promise<{ readonly OPTIONS: OptionTable }>;
  readonly main: () => Promise<{ readonly main: (argv: string[]) => Promise<void> }>;
};

const COMMANDS: Readonly<Record<string, Command>> = {
  dev: { doc: "the whole system on this machine", help: devHelp, run: runDev },
  gateway: roleCommand("gateway", "one HTTP gateway", {
    config: () => import("@millrace/gateway/config"),
    main: () => import("@millrace/gateway/main"),
  }),
  broker: roleCommand("broker", "one broker", {
    config: () => import("@millrace/broker/config"),
    main: () => import("@millrace/broker/main"),
  }),
  worker: roleCommand("worker", "one inference worker", {
    config: () => import("@millrace/inference-worker/config"),
    main: () => import("@millrace/inference-worker/main"),
  }),
  bench: {
    doc: "a model's batch times, its best batch size, and the workers that a rate needs",
    help: benchHelp,
    run: runBench,
  },
  check: { doc: "does a server speak the Open Inference Protocol, and how fast", help: checkHelp, run: runCheck },
};

/**
 * Runs the command line.
 *
 * @throws {OptionError} for a command or option that does not exist, with a message for the user.
 */
export async function main(argv: string[]): Promise<void> {
  const [name = "--help", ...rest] = argv;
  if (name === "--version") return print(`millrace ${version()}`);
  if (name === "--help" || name === "-h" || name === "help") return print(help());
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new OptionError(`unknown command "${name}"; millrace --help lists them`);
  if (rest.includes("--help") || rest.includes("-h")) return print(await command.help());
  await command.run(rest);
}

function roleCommand(name: string, doc: string, modules: RoleModules): Command {
  return {
    doc,
    help: async () => `millrace ${name} [OPTIONS]: ${doc}\n\n${helpOfOptions((await modules.config()).OPTIONS)}`,
    run: async (argv) => (await modules.main()).main(argv),
  };
}

function help(): string {
  const rows = Object.entries(COMMANDS).map(([name, { doc }]) => `  ${name.padEnd(8)}  ${doc}`);
  return [
    "millrace: model serving with predictable tail latency",
    "",
    "millrace COMMAND [OPTIONS]",
    "",
    ...rows,
    "",
    "millrace COMMAND --help shows the options of a command; each can also be set in the environment, as MILLRACE_…",
    "millrace --version",
  ].join("\n");
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const hasVersion = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return hasVersion ? String(manifest.version) : "unknown";
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

if (import.meta.main) await runMain(main);
