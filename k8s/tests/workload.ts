import { OPTIONS as BROKER_OPTIONS } from "@millrace/broker/config";
import { OPTIONS as GATEWAY_OPTIONS } from "@millrace/gateway/config";
import { OPTIONS as WORKER_OPTIONS } from "@millrace/inference-worker/config";
import { environmentName, type OptionTable } from "@millrace/runtime";
import type { Container, EnvironmentVariable, Labels, Manifest, PodSpec } from "./manifest.ts";

/** By the name of the container. */
export const OPTIONS_OF: Readonly<Record<string, OptionTable>> = {
  gateway: GATEWAY_OPTIONS,
  broker: BROKER_OPTIONS,
  worker: WORKER_OPTIONS,
};

/** Stands for what only the cluster knows. */
const NAMESPACE = "some-namespace";

/** A Deployment and what its process is given. */
export type Workload = {
  readonly name: string;
  readonly replicas: number | undefined;
  readonly labels: Labels;
  readonly pod: PodSpec;
  readonly container: Container;
  /** The environment as the process sees it. */
  readonly env: Readonly<Record<string, string>>;
};

/** @throws Error where a pod has not one container, or reads a ConfigMap that is not there. */
export function toWorkload({ metadata, spec }: Manifest, manifests: readonly Manifest[]): Workload {
  const template = spec?.template;
  const [container, ...others] = template?.spec.containers ?? [];
  if (template === undefined || container === undefined || others.length > 0) {
    throw new Error(`${metadata.name}: one container is expected`);
  }
  const env = environmentOf(container, manifests);
  const labels = template.metadata?.labels ?? {};
  return { name: metadata.name, replicas: spec?.replicas, labels, pod: template.spec, container, env };
}

function environmentOf({ env = [], envFrom = [] }: Container, manifests: readonly Manifest[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { configMapRef } of envFrom) {
    const config = manifests.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === configMapRef?.name);
    if (config === undefined) throw new Error(`no ConfigMap ${configMapRef?.name}`);
    Object.assign(found, config.data);
  }
  for (const { name, value, valueFrom } of env) {
    const given = value ?? fromPod(valueFrom);
    found[name] = given.replaceAll(/\$\((\w+)\)/g, (text, other: string) => found[other] ?? text);
  }
  return found;
}

/** Something that the downward API might give. */
function fromPod(source: EnvironmentVariable["valueFrom"]): string {
  if (source?.resourceFieldRef !== undefined) return "1";
  return source?.fieldRef?.fieldPath === "metadata.namespace" ? NAMESPACE : "of-the-pod";
}

/** What holds of an option that is a number: what the workload is given, or the default; 0 where the role has no such option. */
export function optionNumber({ container, env }: Workload, key: string): number {
  return Number(env[environmentName(key)] ?? OPTIONS_OF[container.name]?.[key]?.default ?? 0);
}

/** The same of a time in milliseconds, in seconds. */
export function optionS(workload: Workload, key: string): number {
  return optionNumber(workload, key) / 1000;
}

/** An empty selector selects nothing here: it would select everything. */
export function selects(selector: Labels | undefined, labels: Labels): boolean {
  const entries = Object.entries(selector ?? {});
  return entries.length > 0 && entries.every(([name, value]) => labels[name] === value);
}
