import { COMMON_OPTIONS, defineOptions, OptionError } from "@millrace/runtime";
import { expect, test } from "vitest";
import { z } from "zod";
import { configureDev, type RoleTables } from "./dev-configuration.ts";
import { DevPlan } from "./dev-plan.ts";

const number = { schema: z.number().int().min(0).max(100_000), default: 0, doc: "A number." };
const text = { schema: z.string(), default: "", doc: "A text." };
const shared = { ...COMMON_OPTIONS, adminPort: number };

const TABLES: RoleTables = {
  gateway: defineOptions({ ...shared, host: text, port: number, brokers: text, bodyBytesMax: number }),
  broker: defineOptions({ ...shared, gatewayPort: number, workerPort: number, queueRowsMax: number }),
  worker: defineOptions({ ...shared, brokers: text, models: text, threads: number, maxBatchSize: number }),
};

function plan(argv: string[], env: Record<string, string> = {}): DevPlan {
  return new DevPlan({
    configuration: configureDev(TABLES, { argv, env }),
    tables: TABLES,
    programs: { gateway: "/g.ts", broker: "/b.ts", worker: "/w.ts" },
    models: "/models",
    processors: 5,
  });
}

const BROKER = { gateways: "tcp://127.0.0.1:5550", workers: "tcp://127.0.0.1:5551", admin: "http://127.0.0.1:9101" };

test("the default is one of each on the documented ports", () => {
  const dev = plan([], { PATH: "/bin" });
  expect(dev.names).toEqual(["broker-1", "worker-1", "gateway-1"]);
  expect(dev.broker()).toMatchObject({
    name: "broker-1",
    program: "/b.ts",
    environment: { PATH: "/bin", MILLRACE_NAME: "broker-1", MILLRACE_ADMIN_PORT: "9101" },
  });
  expect(dev.broker().environment).not.toHaveProperty("MILLRACE_GATEWAY_PORT");
  expect(dev.workers(BROKER).map((spec) => spec.environment)).toEqual([
    {
      PATH: "/bin",
      MILLRACE_NAME: "worker-1",
      MILLRACE_ADMIN_PORT: "9102",
      MILLRACE_BROKERS: "tcp://127.0.0.1:5551",
      MILLRACE_MODELS: "/models",
      MILLRACE_THREADS: "5",
    },
  ]);
  expect(dev.gateways(BROKER).map((spec) => spec.environment)).toEqual([
    {
      PATH: "/bin",
      MILLRACE_NAME: "gateway-1",
      MILLRACE_ADMIN_PORT: "9100",
      MILLRACE_BROKERS: "tcp://127.0.0.1:5550",
      MILLRACE_HOST: "127.0.0.1",
      MILLRACE_PORT: "8000",
    },
  ]);
});

test("several of each share processors and take successive ports", () => {
  const dev = plan(["--gateways", "2", "--workers=2", "--port", "7000", "--admin-port", "7100"]);
  const variable = (
    name: string,
  ): ((spec: { environment: Readonly<Record<string, string>> }) => string | undefined) => {
    return (spec) => spec.environment[name];
  };
  expect(dev.gateways(BROKER).map(variable("MILLRACE_PORT"))).toEqual(["7000", "7001"]);
  expect(dev.gateways(BROKER).map(variable("MILLRACE_ADMIN_PORT"))).toEqual(["7100", "7104"]);
  expect(dev.workers(BROKER).map(variable("MILLRACE_ADMIN_PORT"))).toEqual(["7102", "7103"]);
  expect(dev.workers(BROKER).map(variable("MILLRACE_THREADS"))).toEqual(["2", "2"]);
});

test("port 0 frees every port, and a later start returns to the port that was had", () => {
  const dev = plan(["--port", "0"]);
  const ports = { MILLRACE_GATEWAY_PORT: "0", MILLRACE_WORKER_PORT: "0", MILLRACE_ADMIN_PORT: "0" };
  expect(dev.broker().environment).toMatchObject(ports);
  expect(dev.broker().pin({ ...BROKER, admin: "http://[::1]:40001" })).toEqual({
    MILLRACE_GATEWAY_PORT: "5550",
    MILLRACE_WORKER_PORT: "5551",
    MILLRACE_ADMIN_PORT: "40001",
  });
  const [gateway] = dev.gateways(BROKER);
  expect(gateway?.pin({ http: "http://127.0.0.1:40002", admin: "http://127.0.0.1:40003" })).toEqual({
    MILLRACE_PORT: "40002",
    MILLRACE_ADMIN_PORT: "40003",
  });
});

test("an option of a role goes to the roles that know it, and to no other", () => {
  const env = { MILLRACE_QUEUE_ROWS_MAX: "5", MILLRACE_PORT: "7000", MILLRACE_LOG_LEVEL: "warn" };
  const dev = plan(["--max-batch-size", "8", "--gateway-port=6000", "--threads", "3"], env);
  expect(dev.broker().environment).toEqual({
    MILLRACE_NAME: "broker-1",
    MILLRACE_ADMIN_PORT: "9101",
    MILLRACE_GATEWAY_PORT: "6000",
    MILLRACE_QUEUE_ROWS_MAX: "5",
    MILLRACE_LOG_LEVEL: "warn",
  });
  expect(dev.workers(BROKER)[0]?.environment).toMatchObject({ MILLRACE_MAX_BATCH_SIZE: "8", MILLRACE_THREADS: "3" });
  expect(dev.workers(BROKER)[0]?.environment).not.toHaveProperty("MILLRACE_QUEUE_ROWS_MAX");
  expect(dev.gateways(BROKER)[0]?.environment).toMatchObject({ MILLRACE_PORT: "7000", MILLRACE_LOG_LEVEL: "warn" });
});

test.each([
  [["--brokers", "2"], {}, "several brokers come with a later version"],
  [["--max-batch", "2"], {}, "unknown option --max-batch"],
  [[], { MILLRACE_NOPE: "1" }, "unknown environment variable MILLRACE_NOPE"],
  [["--max-batch-size", "many"], {}, '--max-batch-size: "many" is not allowed'],
  [["--name", "x"], {}, "--name is not for dev"],
  [["--port", "65535", "--gateways", "2"], {}, "no room for 2 gateways"],
  [["--admin-port", "65534"], {}, "no room for 3 processes"],
])("refuses %j %j", (argv, env, message) => {
  expect(() => plan(argv, env)).toThrow(OptionError);
  expect(() => plan(argv, env)).toThrow(message);
});

test("--json and --pretty are short for the log's format", () => {
  const format = (argv: string[]): string => configureDev(TABLES, { argv, env: {} }).options.logFormat;
  expect([format([]), format(["--json"]), format(["--pretty"])]).toEqual(["pretty", "json", "pretty"]);
});
