import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ROOT } from "../../tests/support/repository.ts";

const run = promisify(execFile);

const KUBE_NODE = join(ROOT, "k8s", "tests", "kube-node");

/** The cluster's network; nothing leads out of it. */
export const NETWORK_NAMESPACE = "/run/netns/kube-node";

/** How long a rollout may take, and the end of a pod: longer than any pod's grace. */
const ROLLOUT_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 20_000;
const POLL_MS = 200;

export type Pod = {
  readonly name: string;
  readonly ip: string;
  readonly uid: string;
  readonly component: string;
  readonly restarts: number;
  readonly isReady: boolean;
  readonly isEnding: boolean;
  /** From its creation until it was ready, in whole seconds as Kubernetes tells times; NaN where it is not ready. */
  readonly readyS: number;
  /** Of that, until its container ran: the cluster's part. */
  readonly startedS: number;
};

/** What the API tells of a pod, as far as it is read. */
type PodObject = {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
  };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly restartCount: number;
      readonly state?: { readonly running?: { readonly startedAt: string } };
    }[];
  };
};

/** Runs a program in the cluster's network, and returns what it writes. */
async function inside(...command: readonly string[]): Promise<string> {
  const { stdout } = await run(KUBE_NODE, ["run", ...command], { cwd: ROOT, maxBuffer: 16 * 2 ** 20 });
  return stdout;
}

export function kubectl(...args: readonly string[]): Promise<string> {
  return inside("kubectl", ...args);
}

/** Every pod of Millrace, by name. */
export async function listPods(): Promise<Pod[]> {
  const text = await kubectl("get", "pods", "--selector", "app.kubernetes.io/name=millrace", "--output", "json");
  return (JSON.parse(text) as { items: PodObject[] }).items.map(({ metadata, status }) => {
    const ready = status.conditions?.find(({ type }) => type === "Ready");
    const isReady = ready?.status === "True";
    const sinceCreationS = (time = ""): number => (Date.parse(time) - Date.parse(metadata.creationTimestamp)) / 1000;
    return {
      name: metadata.name,
      ip: status.podIP ?? "",
      uid: metadata.uid,
      component: metadata.labels["app.kubernetes.io/component"] ?? "",
      restarts: (status.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0),
      isReady,
      isEnding: metadata.deletionTimestamp !== undefined,
      readyS: sinceCreationS(isReady ? ready.lastTransitionTime : undefined),
      startedS: sinceCreationS(status.containerStatuses?.[0]?.state?.running?.startedAt),
    };
  });
}

/** Waits until a Deployment is as it should be: so many pods, all ready, and those that had to end have ended. */
export async function awaitRollout(deployment: string): Promise<void> {
  await kubectl("rollout", "status", `deployment/${deployment}`, `--timeout=${ROLLOUT_TIMEOUT_MS}ms`);
  const replicas = Number(await kubectl("get", `deployment/${deployment}`, "--output", "jsonpath={.spec.replicas}"));
  const untilMs = performance.now() + ROLLOUT_TIMEOUT_MS;
  for (;;) {
    const pods = (await listPods()).filter(({ name }) => name.startsWith(`${deployment}-`));
    if (pods.length === replicas && pods.every(({ isReady, isEnding }) => isReady && !isEnding)) return;
    if (performance.now() > untilMs) throw new Error(`${deployment} has not ${replicas} pods: ${JSON.stringify(pods)}`);
    await sleep(POLL_MS);
  }
}

export async function scale(deployment: string, replicas: number): Promise<void> {
  await kubectl("scale", `deployment/${deployment}`, `--replicas=${replicas}`);
  await awaitRollout(deployment);
}

export async function restart(deployment: string): Promise<void> {
  await kubectl("rollout", "restart", `deployment/${deployment}`);
  await awaitRollout(deployment);
}

/** Deletes a pod as an eviction does, or without warning; waits until it has ended and its successor is ready. */
export async function deletePod(deployment: string, how: "drained" | "killed"): Promise<void> {
  const pod = (await listPods()).find(({ name, isEnding }) => name.startsWith(`${deployment}-`) && !isEnding);
  if (pod === undefined) throw new Error(`${deployment} has no pod to delete`);
  const force = how === "killed" ? ["--grace-period=0", "--force"] : [];
  await kubectl("delete", "pod", pod.name, "--wait=true", ...force);
  await awaitRollout(deployment);
}

/** The body of a good answer, from inside the cluster's network. @throws Error where there is none within 2 s. */
export function fetchInside(url: string): Promise<string> {
  return inside("curl", "--silent", "--show-error", "--fail", "--max-time", "2", url);
}

/** `http://IP:PORT` of a Service, once it has its first good answer to this path. */
export async function awaitService(name: string, path: string): Promise<string> {
  const format = "jsonpath=http://{.spec.clusterIP}:{.spec.ports[0].port}";
  const url = await kubectl("get", "service", name, "--output", format);
  const untilMs = performance.now() + ANSWER_TIMEOUT_MS;
  for (;;) {
    const failure = await fetchInside(`${url}${path}`).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) return url;
    if (performance.now() > untilMs) throw new Error(`${url}${path} does not answer`, { cause: failure });
    await sleep(POLL_MS);
  }
}

/** Resident memory in bytes. `own`: without what is mapped from files and so shared by the pods of a node. */
export type ResidentBytes = { readonly all: number; readonly own: number };

/** What a pod's process has in memory. Images have no shell, but they have Node. */
export async function residentBytes(pod: string): Promise<ResidentBytes> {
  const script = "process.stdout.write(require('fs').readFileSync('/proc/1/status'))";
  const status = await kubectl("exec", pod, "--", "node", "--eval", script);
  const bytesOf = (line: string): number => Number(new RegExp(`^${line}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
  return { all: bytesOf("VmRSS"), own: bytesOf("RssAnon") };
}
