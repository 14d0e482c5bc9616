import { environmentName } from "@millrace/runtime";
import type { Addresses, ChildSpec } from "./child-process.ts";
import type { DevConfiguration, Environment, Role, RoleTables } from "./dev-configuration.ts";

export type DevPlanInputs = {
  readonly configuration: DevConfiguration;
  readonly tables: RoleTables;
  /** Path of each role's program. */
  readonly programs: Readonly<Record<Role, string>>;
  /** Absolute path of the model repository. */
  readonly models: string;
  /** Processors that may be used, at least 1. */
  readonly processors: number;
};

/** Which processes `millrace dev` starts, with which environment. Pure. */
export class DevPlan {
  readonly #inputs: DevPlanInputs;

  constructor(inputs: DevPlanInputs) {
    this.#inputs = inputs;
  }

  /** The names of all processes, in the order in which they start. */
  get names(): readonly string[] {
    const { gateways, workers } = this.#inputs.configuration.options;
    return ["broker-1", ...numbered("worker", workers), ...numbered("gateway", gateways)];
  }

  broker(): ChildSpec {
    const { configuration } = this.#inputs;
    const free = configuration.options.port === 0 ? { gatewayPort: 0, workerPort: 0 } : {};
    return this.#spec("broker", { name: "broker-1", settings: { ...free, adminPort: this.#adminPort(1) } });
  }

  /** `broker`: where the broker listens. */
  workers(broker: Addresses): readonly ChildSpec[] {
    const { configuration, models, processors } = this.#inputs;
    const { workers } = configuration.options;
    const threads = Math.max(1, Math.floor(processors / workers));
    return numbered("worker", workers).map((name, at) => {
      const settings = { brokers: broker["workers"] ?? "", models, threads, adminPort: this.#adminPort(2 + at) };
      return this.#spec("worker", { name, settings });
    });
  }

  /** `broker`: where the broker listens. */
  gateways(broker: Addresses): readonly ChildSpec[] {
    const { models } = this.#inputs;
    const { host, port, gateways, workers } = this.#inputs.configuration.options;
    return numbered("gateway", gateways).map((name, at) => {
      const settings = {
        host,
        port: port === 0 ? 0 : port + at,
        brokers: broker["gateways"] ?? "",
        models,
        publicMetrics: "true",
        trustTenant: "true",
        // The first gateway has the first admin port; more of them come after the workers.
        adminPort: this.#adminPort(at === 0 ? 0 : 1 + workers + at),
      };
      return this.#spec("gateway", { name, settings });
    });
  }

  #adminPort(at: number): number {
    const { port, adminPort } = this.#inputs.configuration.options;
    return port === 0 || adminPort === 0 ? 0 : adminPort + at;
  }

  /** What the user gave wins over `settings`; what the role does not know is left out. */
  #spec(role: Role, child: { name: string; settings: Readonly<Record<string, string | number>> }): ChildSpec {
    const { configuration, tables, programs } = this.#inputs;
    const table = tables[role];
    return {
      name: child.name,
      program: programs[role],
      environment: {
        ...configuration.inherited,
        ...toEnvironment(table, { name: child.name, ...child.settings }),
        ...configuration.forwarded[role],
      },
      pin: (addresses) => toEnvironment(table, portsOf(role, addresses)),
    };
  }
}

/** Which option of a role holds the port of which of its addresses. */
const PORT_KEYS: Readonly<Record<Role, Readonly<Record<string, string>>>> = {
  gateway: { http: "port", admin: "adminPort" },
  broker: { gateways: "gatewayPort", workers: "workerPort", admin: "adminPort" },
  worker: { admin: "adminPort" },
};

function portsOf(role: Role, addresses: Addresses): Readonly<Record<string, string>> {
  const ports: Record<string, string> = {};
  for (const [kind, key] of Object.entries(PORT_KEYS[role])) {
    const port = /:(\d+)\/?$/.exec(addresses[kind] ?? "")?.[1];
    if (port !== undefined) ports[key] = port;
  }
  return ports;
}

function toEnvironment(table: RoleTables[Role], settings: Readonly<Record<string, string | number>>): Environment {
  const known = Object.entries(settings).filter(([key]) => Object.hasOwn(table, key));
  return Object.fromEntries(known.map(([key, value]) => [environmentName(key), String(value)]));
}

function numbered(role: Role, count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => `${role}-${at + 1}`);
}
