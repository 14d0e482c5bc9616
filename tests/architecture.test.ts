import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./support/repository.ts";

/**
 * The files of each service that own sockets, files, threads, timers, clocks and options. Everything else under its `src` is a
 * pure core. A new file that needs I/O is named here, or does not get it.
 */
const SHELLS: Readonly<Record<string, readonly string[]>> = {
  broker: [
    "main",
    "config",
    "server",
    "metrics/metrics",
    "metrics/metric-table",
    "metrics/model-metrics",
    "decisions/decision-route", // answers a query of the admin port
    "dashboard/dashboard",
    "dashboard/feed",
    "dashboard/page-files",
  ],
  gateway: [
    "main",
    "config",
    "metrics",
    "metric-table",
    "app",
    "http/http-server",
    "http/node-exchange",
    "http/hot-lane",
    "http/lane-exchange",
    "http/fetch-exchange",
    "broker/broker-inference",
    "call/access-logger",
    "form-threads/form-pool",
    "form-threads/form-thread",
    "form-threads/copy-out", // a turn of the event loop between its pieces
    "http/compression", // zlib, on threads of its own
    "call/inference-call", // reads the clock for Server-Timing, and delays for tests
    "http/request-id", // random bytes, and a counter of the process
    "routes/docs-page", // reads its files
    "hooks/hook-call", // the budget of a request
    "hooks/hook-folder",
    "hooks/hook-loader",
    "hooks/hook-metrics",
    "hooks/hook-runner", // the clock of a hook's budget
    "hooks/hook-thread",
    "hooks/hook-threads",
    "hooks/hooked-inference",
  ],
  "inference-worker": [
    "main",
    "config",
    "metrics",
    "metric-table",
    "worker",
    "measure", // the program behind `millrace bench`
    "model-loader",
    "curve-folder",
    "repository",
    "runner-host",
    "runner-thread",
    "hosted-model",
    "onnx-runner",
    "simulated-runner",
    "wait", // blocks its thread
  ],
};

/** Packages that are kept behind few files, and these files. */
const GUARDED: readonly { readonly name: RegExp; readonly importers: readonly string[] }[] = [
  // What zmtp.ts is tested against.
  { name: /^zeromq$/, importers: [] },
  {
    name: /^(hono|@hono\/.*)$/,
    importers: ["services/gateway/src/app.ts", "services/gateway/src/http/http-server.ts"],
  },
  { name: /^@redis\//, importers: ["libs/hooks/src/redis-features.ts"] },
  { name: /^onnxruntime-node$/, importers: ["services/inference-worker/src/onnx-runner.ts"] },
];

/** What pure files import although the rules refuse it, and why that is right: `file → module`. */
const EXCEPTIONS: ReadonlyMap<string, string> = new Map([
  ["services/gateway/src/forms/input-set.ts → node:crypto", "hash() computes: no I/O, no randomness"],
  ["services/gateway/src/call/tenant-access.ts → node:crypto", "hash() computes: no I/O, no randomness"],
  [
    "services/gateway/src/forms/forms.ts → services/gateway/src/call/inference-call.ts",
    "a type: what a form has to offer",
  ],
  [
    "services/gateway/src/form-threads/form-message.ts → services/gateway/src/call/inference-call.ts",
    "types: what a form is read to, and written from",
  ],
  [
    "services/inference-worker/src/model-description.ts → services/inference-worker/src/repository.ts",
    "a type: a model as the repository found it",
  ],
]);

/** What each library may import of ours beside itself. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  scheduling: [],
  runtime: [],
  transport: ["@millrace/protocol"],
  hooks: ["@millrace/protocol"],
};

const SERVICE_NAMES = Object.keys(SHELLS);
const IMPURE_GLOBALS =
  /(?<![\w.#$])(?:performance|Date|process|setTimeout|setInterval|setImmediate|fetch|console)(?![\w$]|\??:)/g;

type Import = { readonly target: string; readonly isType: boolean };

/** Comments away; strings stay where `keepStrings`, as imports are strings. */
function codeOf(source: string, keepStrings: boolean): string {
  return source.replaceAll(/"(?:[^"\\\n]|\\.)*"|\/\*[\s\S]*?\*\/|\/\/.*/g, (text) => {
    if (!text.startsWith('"')) return "";
    return keepStrings ? text : '""';
  });
}

/** Everything that a file imports, types and threads included; paths from the root for what lies in this repository. */
function importsOf(file: string, source: string): Import[] {
  const code = codeOf(source, true);
  const statements = /\b(?:import|export)(\s+type)?\s+[\w*{][^;"]*?\bfrom\s*"([^"]+)"|\bimport(\s*)"([^"]+)"/g;
  const calls = /\b(?:import|require)(\s*)\(\s*"([^"]+)"|\bnew URL(\s*)\(\s*"([^"]+\.ts)"/g;
  const found = [...code.matchAll(statements), ...code.matchAll(calls)];
  return found.map(([, type = "", first, , second]) => {
    const name = first ?? second ?? "";
    const target = name.startsWith(".") ? normalize(join(dirname(file), name)) : name;
    return { target, isType: type.trim() === "type" };
  });
}

/** `libs/protocol`, `services/broker`, `cli`: the package that a path belongs to. */
function packageOf(path: string): string {
  return path.startsWith("cli/") ? "cli" : path.split("/", 2).join("/");
}

function isTestSupport(path: string): boolean {
  return /\/src\/testing(\.ts$|\/)/.test(path) || path.endsWith("/testing");
}

function shellsOf(service: string): Set<string> {
  return new Set((SHELLS[service] ?? []).map((name) => `services/${service}/src/${name}.ts`));
}

/** Why `file` may not import this module, or "". */
function importFault(file: string, { target, isType }: Import): string {
  const guard = GUARDED.find(({ name }) =>
    name.test(target.startsWith("@") ? target : (target.split("/", 1)[0] ?? "")),
  );
  if (guard !== undefined && !guard.importers.includes(file))
    return `only ${guard.importers.join(" and ") || "tests"} may`;
  if (isTestSupport(target) && !isTestSupport(file)) return "test support is for tests";
  const isRelative = /^(libs|services|cli|tests|bench|docs)\//.test(target);
  if (isRelative && packageOf(target) !== packageOf(file)) return "packages meet through their public entry";
  const [top = "", name = ""] = file.split("/");
  if (top === "cli") return cliFault(target);
  return top === "libs" ? libraryFault(name, target) : serviceFault({ file, service: name, target, isType });
}

function cliFault(target: string): string {
  if (!target.startsWith("@millrace/") || target === "@millrace/runtime") return "";
  const isEntry = SERVICE_NAMES.some((name) => [`@millrace/${name}/config`, `@millrace/${name}/main`].includes(target));
  return isEntry ? "" : "the command line knows options and mains, nothing else";
}

function libraryFault(library: string, target: string): string {
  const allowed = LIBRARIES[library];
  if (allowed === undefined) return "a library that LIBRARIES does not know";
  if (target.startsWith("@millrace/") && !allowed.includes(target)) return "not an arrow of this library";
  const isPure = library === "protocol" || library === "scheduling";
  return isPure && target.startsWith("node:") ? "pure: no I/O, no clock" : "";
}

type ServiceImport = Import & { readonly file: string; readonly service: string };

function serviceFault({ file, service, target, isType }: ServiceImport): string {
  if (SERVICE_NAMES.some((name) => target.startsWith(`@millrace/${name}`))) return "no service imports another";
  const shells = shellsOf(service);
  if (target.endsWith("/main.ts")) return "nothing imports a main";
  if (shells.has(file) || isTestSupport(file)) return "";
  if (EXCEPTIONS.has(`${file} → ${target}`) && (isType || target.startsWith("node:"))) return "";
  if (target.startsWith("node:") && target !== "node:buffer") return "a pure core: no I/O, no clock";
  if (target === "@millrace/runtime" || target === "@millrace/transport") return "a pure core: no shell's library";
  if (target === "@millrace/hooks" && !isType) return "a pure core: no shell's library";
  return shells.has(target) ? "a core imports no shell" : "";
}

/** Whether a file must do without clocks, timers and the process. */
function isPureFile(file: string): boolean {
  if (isTestSupport(file)) return false;
  const [top = "", name = ""] = file.split("/");
  if (top === "libs") return name === "protocol" || name === "scheduling";
  return top === "services" && !shellsOf(name).has(file);
}

/** Every breach of the architecture's arrows in one file. */
function faultsOf(file: string, source: string): string[] {
  const imports = importsOf(file, source).map((one) => ({ ...one, fault: importFault(file, one) }));
  const arrows = imports
    .filter(({ fault }) => fault !== "")
    .map(({ target, fault }) => `${file} → ${target}: ${fault}`);
  if (!isPureFile(file)) return arrows;
  const globals = [...codeOf(source, false).matchAll(IMPURE_GLOBALS)].map(
    ([name]) => `${file}: ${name} in a pure file`,
  );
  return [...arrows, ...globals];
}

const SOURCES: ReadonlyMap<string, string> = new Map(
  globSync(["libs/*/src/**/*.ts", "services/*/src/**/*.ts", "cli/src/**/*.ts"], { cwd: ROOT })
    .filter((path) => !path.endsWith(".test.ts"))
    .sort()
    .map((path) => [path, readFileSync(join(ROOT, path), "utf8")]),
);

test("every import follows the architecture's arrows, and cores have no clock", () => {
  expect(SOURCES.size).toBeGreaterThan(100);
  expect([...SOURCES].flatMap(([file, source]) => faultsOf(file, source))).toEqual([]);
});

test("the lists name what is there: shells, importers of guarded packages, exceptions, libraries, services", () => {
  const arrows = new Map(
    [...SOURCES].map(([file, source]) => [file, importsOf(file, source).map((one) => one.target)]),
  );
  for (const service of SERVICE_NAMES) {
    for (const shell of shellsOf(service)) expect([...SOURCES.keys()]).toContain(shell);
  }
  for (const { name, importers } of GUARDED) {
    for (const file of importers) {
      expect(
        arrows.get(file)?.some((target) => name.test(target.startsWith("@") ? target : target.split("/", 1)[0]!)),
        file,
      ).toBe(true);
    }
  }
  for (const exception of EXCEPTIONS.keys()) {
    const [file = "", target = ""] = exception.split(" → ");
    expect(arrows.get(file), exception).toContain(target);
  }
  const packages = [...new Set([...SOURCES.keys()].map(packageOf))].sort();
  expect(packages).toEqual(
    [
      "cli",
      ...Object.keys(LIBRARIES).map((name) => `libs/${name}`),
      ...SERVICE_NAMES.map((name) => `services/${name}`),
    ].sort(),
  );
});

test.for<[string, string, string]>([
  [
    "services/gateway/src/broker/pending.ts",
    'import type { X } from "@millrace/broker/config";',
    "no service imports another",
  ],
  ["services/gateway/src/broker/pending.ts", 'import { X } from "../../../broker/src/broker.ts";', "public entry"],
  ["services/broker/src/dispatch/slot-choice.ts", 'import {\n  X,\n} from "../server.ts";', "imports no shell"],
  ["services/broker/src/sessions/outbox.ts", 'import type { Logger } from "@millrace/runtime";', "no shell's library"],
  ["services/gateway/src/hooks/facade.ts", 'import { InvalidRequest } from "@millrace/hooks";', "no shell's library"],
  ["services/gateway/src/main.ts", 'await import("@redis/client");', "only libs/hooks/src/redis-features.ts"],
  ["services/broker/src/sessions/outbox.ts", 'import { readFile } from "node:fs/promises";', "no I/O"],
  ["services/broker/src/a-new-core.ts", "const at = performance.now();", "performance in a pure file"],
  ["services/broker/src/a-new-core.ts", "setTimeout(() => {}, 1);", "setTimeout in a pure file"],
  ["services/broker/src/server.ts", 'import { main } from "./main.ts";', "nothing imports a main"],
  ["services/broker/src/server.ts", 'import { X } from "./testing/auditor.ts";', "test support"],
  ["services/gateway/src/routes/health-routes.ts", 'import { Hono } from "hono";', "only services/gateway/src/app.ts"],
  [
    "services/gateway/src/forms/forms.ts",
    'export * from "hono/router/reg-exp-router";',
    "only services/gateway/src/app.ts",
  ],
  ["services/gateway/src/main.ts", 'await import("@hono/node-server");', "only services/gateway/src/app.ts"],
  ["services/gateway/src/forms/forms.ts", 'import { X } from "../call/inference-call.ts";', "imports no shell"],
  ["libs/transport/src/broker-link.ts", 'import "zeromq";', "only tests may"],
  ["libs/transport/src/broker-link.ts", 'import { X } from "@millrace/runtime";', "not an arrow"],
  ["libs/scheduling/src/curve.ts", 'import type { X } from "@millrace/protocol";', "not an arrow"],
  ["libs/protocol/src/codec.ts", 'import { Buffer } from "node:buffer";', "pure"],
  ["libs/protocol/src/codec.ts", "const at = new Date();", "Date in a pure file"],
  ["libs/runtime/src/logger.ts", 'import { LIMITS } from "@millrace/protocol";', "not an arrow"],
  ["services/inference-worker/src/hosted-model.ts", 'import type { X } from "onnxruntime-node";', "onnx-runner.ts may"],
  ["cli/src/dev.ts", 'import { X } from "@millrace/protocol";', "options and mains"],
])("a breach is found: %s with %s", ([file, source, fault]) => {
  expect(faultsOf(file, source)).toEqual([expect.stringContaining(fault)]);
});

test("what only looks like a breach is none", () => {
  const source =
    '/** import "zeromq"; a process */\nconst process_ = "performance"; // Date\nconst x = { process: a.fetch };';
  expect(faultsOf("services/broker/src/sessions/outbox.ts", source)).toEqual([]);
});
