import { loadOptions } from "@millrace/runtime";
import type { Labels, Manifest } from "./manifest.ts";
import { reachFaults } from "./reach.ts";
import { optionNumber, optionS, OPTIONS_OF, selects, toWorkload, type Workload } from "./workload.ts";

/** What a drain has beyond what it must wait for, and a pod beyond its sleep and its drain, at least, in seconds. */
const SLACK_S = 5;

/** The least time that others are given to notice, in seconds. */
const NOTICE_S_MIN = 5;

/** What is wrong with a set of objects that are applied together, beyond what their schemas say. */
export function invariantFaults(manifests: readonly Manifest[]): string[] {
  const workloads = manifests.filter(({ kind }) => kind === "Deployment").map((it) => toWorkload(it, manifests));
  // The longest request that any gateway accepts: the budget of those that ask for one ends there.
  const requestS = Math.max(...workloads.map((workload) => optionS(workload, "requestTimeoutMsMax")));
  const faults = workloads.flatMap((workload) => [
    ...optionFaults(workload),
    ...podFaults(workload),
    ...containerFaults(workload),
    ...memoryFaults(workload),
    ...graceFaults(workload, requestS),
    ...brokerAddressFaults(workload, manifests, workloads),
    ...budgetFaults(workload, manifests),
  ]);
  return [
    ...faults,
    ...scalerFaults(manifests, workloads),
    ...serviceFaults(manifests, workloads),
    ...reachFaults(manifests, workloads),
  ];
}

/** Each MILLRACE_ variable is an option of the role, with a value that it takes. */
function optionFaults({ name, container, env }: Workload): string[] {
  const table = OPTIONS_OF[container.name];
  if (table === undefined) return [`${name}: no role ${container.name}`];
  try {
    loadOptions(table, { env, argv: [] });
    return [];
  } catch (error) {
    return [`${name}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** Pod Security Standards, restricted; and nothing of the API server's in the pod. */
function podFaults({ name, pod, labels }: Workload): string[] {
  const { securityContext } = pod;
  const spread = pod.topologySpreadConstraints ?? [];
  const all: readonly [boolean, string][] = [
    [securityContext?.runAsNonRoot === true, "runs as root"],
    [securityContext?.runAsUser === 65_532, "has not the images' user"],
    [securityContext?.seccompProfile?.type === "RuntimeDefault", "has no seccomp profile"],
    [pod.automountServiceAccountToken === false, "mounts a token"],
    [pod.enableServiceLinks === false, "gets the variables of services, which look like options"],
    [spread.length === 2, "is not spread over hosts and zones"],
    [spread.every(({ labelSelector }) => selects(labelSelector?.matchLabels, labels)), "is spread beside other pods"],
  ];
  return all.filter(([holds]) => !holds).map(([, fault]) => `${name}: ${fault}`);
}

function containerFaults({ name, container, pod }: Workload): string[] {
  const { securityContext, resources, image = "" } = container;
  const admin = container.ports?.find((port) => port.name === "admin");
  const probes: readonly ["startupProbe" | "readinessProbe" | "livenessProbe", string][] = [
    ["startupProbe", "/livez"],
    ["readinessProbe", "/readyz"],
    ["livenessProbe", "/livez"],
  ];
  const isProbed = probes.map(([probe, path]): [boolean, string] => {
    const get = container[probe]?.httpGet;
    return [get?.path === path && get.port === "admin", `no ${probe} of ${path} on the admin port`];
  });
  const writable = container.volumeMounts?.filter(({ readOnly }) => readOnly !== true) ?? [];
  const all: readonly [boolean, string][] = [
    ...isProbed,
    [admin?.containerPort === 9100, "the admin port is not 9100"],
    [securityContext?.allowPrivilegeEscalation === false, "may gain privileges"],
    [securityContext?.readOnlyRootFilesystem === true, "can write its root"],
    [securityContext?.capabilities?.drop?.join() === "ALL", "has capabilities"],
    [securityContext?.capabilities?.add === undefined, "adds capabilities"],
    [resources?.requests?.["cpu"] !== undefined, "requests no processor"],
    [resources?.limits?.["memory"] !== undefined, "has no limit of memory"],
    [
      /^[^:@]+\/[^:@/]+(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$/.test(image),
      `the image ${image} is not one version`,
    ],
    [writable.every(({ mountPath }) => mountPath === "/tmp"), "writes elsewhere than in /tmp"],
    [
      writable.every((mount) => pod.volumes?.find((volume) => volume.name === mount.name)?.emptyDir !== undefined),
      "keeps what it writes",
    ],
  ];
  return all.filter(([holds]) => !holds).map(([, fault]) => `${name}: ${fault}`);
}

/** What a role holds beside what its options bound (k8s/README.md has the figures), in bytes. */
const RESIDENT_BYTES = 128 * 1024 ** 2;

/** What parsing JSON takes at most, in times of its bytes: see the option `parseThreads`. */
const PARSED_TIMES = 30;

/** Brokers that a worker serves at a time, while one is replaced. */
const BROKERS_MAX = 2;

/** What a role may hold by its options fits into its memory: a bound above the limit bounds nothing, and the pod is killed. */
function memoryFaults(workload: Workload): string[] {
  const { name, container } = workload;
  const [, number = "", unit = ""] = /^(\d+)(Mi|Gi)$/.exec(String(container.resources?.limits?.["memory"])) ?? [];
  const limitBytes = Number(number) * 1024 ** (unit === "Gi" ? 3 : 2);
  const of = (key: string): number => optionNumber(workload, key);
  const held =
    of("inFlightBytesMax") +
    PARSED_TIMES * of("jsonBytesMax") * of("parseThreads") +
    of("queueBytesMax") +
    BROKERS_MAX * of("bytesMax");
  const mib = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);
  return limitBytes >= RESIDENT_BYTES + held
    ? []
    : [`${name}: may hold ${mib(RESIDENT_BYTES + held)} MiB, and is killed at ${mib(limitBytes)}`];
}

/**
 * The pod is killed only after its sleep and its drain. A drain outlasts the longest request, `requestS`, which may come to a
 * gateway as late as its delay ends: by a slack, as that request ends when its budget does. A gateway's delay leaves balancers the
 * time to notice; a broker sleeps until nobody's list of brokers lacks its successor.
 */
function graceFaults(workload: Workload, requestS: number): string[] {
  const { name, pod, container } = workload;
  const graceS = pod.terminationGracePeriodSeconds ?? 30;
  const sleepS = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
  const drainS = optionS(workload, "drainGraceMs");
  const delayS = optionS(workload, "drainDelayMs");
  const servedS = delayS + requestS;
  const hasTimeS = container.name === "worker" ? Infinity : sleepS + delayS;
  const all: readonly [boolean, string][] = [
    [graceS >= sleepS + drainS + SLACK_S, `${graceS} s are not enough to drain`],
    [drainS >= servedS + SLACK_S, `a drain of ${drainS} s cuts what it serves, ${servedS} s`],
    [hasTimeS >= NOTICE_S_MIN, `stops ${hasTimeS} s after it is told to, before others notice`],
  ];
  return all.filter(([holds]) => !holds).map(([, fault]) => `${name}: ${fault}`);
}

/** What a role connects to is a headless Service of brokers, by its full name, on the port for this role. */
function brokerAddressFaults(
  { name, container, env }: Workload,
  manifests: readonly Manifest[],
  workloads: readonly Workload[],
): string[] {
  if (container.name === "broker") return [];
  const address = env["MILLRACE_BROKERS"] ?? "";
  const [, host, port] = /^tcp:\/\/([a-z-]+)\.some-namespace\.svc\.cluster\.local\.:(\d+)$/.exec(address) ?? [];
  const service = manifests.find(({ kind, metadata }) => kind === "Service" && metadata.name === host);
  if (service === undefined || service.spec?.clusterIP !== "None")
    return [`${name}: no headless Service at ${address}`];
  const target = service.spec.ports?.find((it) => it.port === Number(port))?.targetPort;
  if (target !== `${container.name}s`) return [`${name}: ${address} is not the port for ${container.name}s`];
  const isBroker = workloads.some(
    (it) => it.container.name === "broker" && selects(service.spec?.selector as Labels, it.labels),
  );
  return isBroker ? [] : [`${name}: no broker behind ${address}`];
}

/** Each workload has one disruption budget, and it can be drained off a node. */
function budgetFaults({ name, labels }: Workload, manifests: readonly Manifest[]): string[] {
  const budgets = manifests.filter(
    ({ kind, spec }) => kind === "PodDisruptionBudget" && selects(spec?.selector?.matchLabels, labels),
  );
  if (budgets.length !== 1) return [`${name}: ${budgets.length} disruption budgets`];
  const spec = budgets[0]?.spec;
  const isDrainable = spec?.maxUnavailable === 1 && spec.unhealthyPodEvictionPolicy === "AlwaysAllow";
  return isDrainable ? [] : [`${name}: its disruption budget can block a node's drain`];
}

/** A scaler's target is there, and whoever applies it anew does not set its number. */
function scalerFaults(manifests: readonly Manifest[], workloads: readonly Workload[]): string[] {
  const scalers = manifests.filter(({ kind }) => kind === "HorizontalPodAutoscaler" || kind === "ScaledObject");
  return scalers.flatMap(({ metadata, spec }) => {
    const target = workloads.find(({ name }) => name === spec?.scaleTargetRef?.name);
    if (target === undefined) return [`${metadata.name}: scales ${spec?.scaleTargetRef?.name}, which is not there`];
    return target.replicas === undefined ? [] : [`${target.name}: replicas beside a scaler`];
  });
}

/** Each Service selects one workload, and its ports are ports of the container. */
function serviceFaults(manifests: readonly Manifest[], workloads: readonly Workload[]): string[] {
  return manifests
    .filter(({ kind }) => kind === "Service")
    .flatMap(({ metadata, spec }) => {
      const [target, ...others] = workloads.filter(({ labels }) => selects(spec?.selector as Labels, labels));
      if (target === undefined || others.length > 0) return [`${metadata.name}: selects not exactly one workload`];
      const names = target.container.ports?.map(({ name }) => name) ?? [];
      const unknown = spec?.ports?.filter(({ targetPort }) => !names.includes(String(targetPort))) ?? [];
      return unknown.map(({ targetPort }) => `${metadata.name}: ${target.name} has no port ${targetPort}`);
    });
}
