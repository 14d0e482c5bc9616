import { expect, test } from "vitest";
import { z } from "zod";
import { COMMON_OPTIONS } from "./common-options.ts";
import {
  defineOptions,
  describeOptions,
  environmentName,
  flagName,
  helpOfOptions,
  loadOptions,
  OptionError,
  type OptionsOf,
} from "./options.ts";

const OPTIONS = defineOptions({
  requestTimeoutMs: { schema: z.coerce.number().int().min(1).max(3_600_000), default: 5000, doc: "Request timeout." },
  share: { schema: z.number().min(0).max(1), default: 0.5, doc: "A share." },
  host: { schema: z.string().min(1), default: "127.0.0.1", doc: "Where to listen." },
  mode: { schema: z.enum(["fast", "slow"]), default: "fast", doc: "A mode." },
  brokers: { schema: z.array(z.string().startsWith("tcp://")), default: [], doc: "Where brokers are." },
  publicMetrics: { schema: z.boolean(), default: false, doc: "A switch." },
});

function load(argv: string[], env: Record<string, string> = {}): OptionsOf<typeof OPTIONS> {
  return loadOptions(OPTIONS, { env, argv });
}

test("names follow from the key", () => {
  expect(environmentName("requestTimeoutMs")).toBe("MILLRACE_REQUEST_TIMEOUT_MS");
  expect(flagName("requestTimeoutMs")).toBe("--request-timeout-ms");
  expect(() => defineOptions({ "bad-key": { schema: z.string(), default: "", doc: "" } })).toThrow("camelCase");
});

test("nothing given means the defaults, typed without undefined", () => {
  const options = load([]);
  const timeoutMs: number = options.requestTimeoutMs;
  const mode: "fast" | "slow" = options.mode;
  const brokers: readonly string[] = options.brokers;
  expect([timeoutMs, mode, brokers]).toEqual([5000, "fast", []]);
});

test("a flag wins over the environment, which wins over the default", () => {
  const env = { MILLRACE_REQUEST_TIMEOUT_MS: "7", MILLRACE_HOST: "::1", PATH: "/bin" };
  expect(load([], env)).toMatchObject({ requestTimeoutMs: 7, host: "::1" });
  expect(load(["--request-timeout-ms=9"], env)).toMatchObject({ requestTimeoutMs: 9, host: "::1" });
  expect(load(["--request-timeout-ms", "11"], env).requestTimeoutMs).toBe(11);
});

test.each([
  [["--public-metrics"], true],
  [["--public-metrics", "false"], false],
  [["--public-metrics=0"], false],
  [["--public-metrics", "1"], true],
  [["--public-metrics", "--share", "0.25"], true],
])("a boolean reads %j as %s", (argv, value) => {
  expect(load(argv).publicMetrics).toBe(value);
});

test("a list is split at commas", () => {
  expect(load(["--brokers", "tcp://10.0.0.1:1, tcp://10.0.0.2:1,"]).brokers).toEqual([
    "tcp://10.0.0.1:1",
    "tcp://10.0.0.2:1",
  ]);
});

test.each([
  [["--nope", "1"], {}, "unknown option --nope"],
  [["--hsot", "1"], {}, "did you mean --host?"],
  [["--request-timeout", "1"], {}, "did you mean --request-timeout-ms?"],
  [["stray"], {}, 'unexpected argument "stray"'],
  [["--host", "a", "--host", "b"], {}, "--host is given twice"],
  [["--host"], {}, "--host needs a value"],
  [["--host", "--mode"], {}, "--host needs a value"],
  [["--host="], {}, '--host: "" is not allowed'],
  [["--request-timeout-ms", "0"], {}, "expected integer from 1 to 3600000 (Request timeout.)"],
  [["--request-timeout-ms", "1.5"], {}, "expected integer"],
  [["--request-timeout-ms", "0x10"], {}, '"0x10" is not allowed'],
  [[], { MILLRACE_REQUEST_TIMEOUT_MS: "" }, 'MILLRACE_REQUEST_TIMEOUT_MS: "" is not allowed'],
  [["--share", "1.1"], {}, "number from 0 to 1"],
  [["--mode", "sideways"], {}, "one of fast, slow"],
  [["--brokers", "http://x"], {}, '--brokers: "http://x" is not allowed'],
  [[], { MILLRACE_PUBLIC_METRICS: "yes" }, "true or false"],
  [[], { MILLRACE_HOTS: "a" }, "did you mean MILLRACE_HOST?"],
  [[], { MILLRACE_GATEWAY_SERVICE_HOST: "10.1.1.1" }, "enableServiceLinks: false"],
])("refuses %j %j", (argv, env, message) => {
  const refused = (): unknown => load(argv, env);
  expect(refused).toThrow(OptionError);
  expect(refused).toThrow(message);
});

test("what is like no name is not taken for one, however much of it all names have", () => {
  for (const name of ["MILLRACE_FOO", "MILLRACE_XX"]) {
    const refused = (): unknown => load([], { [name]: "1" });
    expect(refused).toThrow(new OptionError(`unknown environment variable ${name}`));
  }
});

test("the reference has a row per option, in order", () => {
  expect(describeOptions(OPTIONS).map((row) => row.key)).toEqual(Object.keys(OPTIONS));
  expect(describeOptions(OPTIONS)[0]).toEqual({
    key: "requestTimeoutMs",
    env: "MILLRACE_REQUEST_TIMEOUT_MS",
    flag: "--request-timeout-ms",
    allowed: "integer from 1 to 3600000",
    default: "5000",
    doc: "Request timeout.",
  });
  expect(helpOfOptions(OPTIONS)).toContain("--mode\n      A mode. [one of fast, slow; default fast; MILLRACE_MODE]");
});

test("the common rows accept their own defaults and refuse nonsense", () => {
  for (const [key, row] of Object.entries(COMMON_OPTIONS))
    expect(row.schema.safeParse(row.default).success, key).toBe(true);
  expect(loadOptions(COMMON_OPTIONS, { env: {}, argv: ["--test-delay", "compute:5"] }).testDelay).toBe("compute:5");
  expect(() => loadOptions(COMMON_OPTIONS, { env: {}, argv: ["--test-delay", "lunch:5"] })).toThrow("is no stage");
});
