import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../tests/support/repository.ts";
import { temporaryFolder } from "../../tests/support/temporary-folder.ts";
import { invariantFaults } from "./invariants.ts";
import { render } from "./kustomize.ts";
import { schemaFaults } from "./schema.ts";

const K8S = join(ROOT, "k8s");
const OVERLAYS = ["dev", "prod-cpu"];

/** Everything that is wrong with an overlay. */
async function faultsOf(overlay: string, root: string = K8S): Promise<string[]> {
  const manifests = await render(join(root, "overlays", overlay));
  const faults = manifests.flatMap(schemaFaults);
  // What is not even an object of Kubernetes has no invariants.
  return faults.length > 0 ? faults : invariantFaults(manifests);
}

test.each(OVERLAYS)("overlay %s is what the API takes, and holds every invariant", async (overlay) => {
  expect(await faultsOf(overlay)).toEqual([]);
});

type Breakage = {
  readonly what: string;
  readonly file: string;
  readonly overlay?: string;
  /** The first text is replaced by the second. */
  readonly edit: readonly [RegExp, string];
  readonly fault: RegExp;
};

const GATEWAY = "base/gateway/deployment.yaml";

const BREAKAGES: readonly Breakage[] = [
  {
    what: "an unknown field",
    file: "base/broker/service-peers.yaml",
    edit: [/publishNotReadyAddresses/, "publishNotReadyAddress"],
    fault: /Unrecognized key: "publishNotReadyAddress"/,
  },
  {
    what: "a missing probe",
    file: "workers/_template/deployment.yaml",
    edit: [/ {10}livenessProbe:\n( {12}.*\n)+/, ""],
    fault: /worker-digits: no livenessProbe/,
  },
  {
    what: "an environment name that no option has",
    file: GATEWAY,
    edit: [/MILLRACE_BROKERS/, "MILLRACE_BROKER"],
    fault: /gateway: unknown environment variable MILLRACE_BROKER/,
  },
  {
    what: "an option's name in a ConfigMap that no option has",
    file: "base/broker/options.env",
    edit: [/^/, "MILLRACE_REQUEST_TIMEOUT_MS=5000\n"],
    fault: /broker: unknown environment variable MILLRACE_REQUEST_TIMEOUT_MS/,
  },
  {
    what: "replicas beside a scaler",
    file: GATEWAY,
    overlay: "prod-cpu",
    edit: [/ {2}revisionHistoryLimit/, "  replicas: 3\n  revisionHistoryLimit"],
    fault: /gateway: replicas beside a scaler/,
  },
  {
    what: "a value that the option does not take",
    file: "workers/_template/options.env",
    edit: [/35000/, "half a minute"],
    fault: /worker-digits: .*MILLRACE_DRAIN_GRACE_MS/,
  },
  {
    what: "a writable root",
    file: GATEWAY,
    edit: [/readOnlyRootFilesystem: true/, "readOnlyRootFilesystem: false"],
    fault: /can write its root/,
  },
  {
    what: "a gateway that may hold more than its memory",
    file: "base/gateway/options.env",
    edit: [/MILLRACE_IN_FLIGHT_BYTES_MAX=.*/, ""],
    fault: /gateway: may hold 1120 MiB, and is killed at 1024/,
  },
  {
    what: "a broker that may hold more than its memory",
    file: "base/broker/deployment.yaml",
    overlay: "prod-cpu",
    edit: [/limits: \{ memory: 1536Mi \}/, "limits: { memory: 1Gi }"],
    fault: /broker: may hold 1152 MiB, and is killed at 1024/,
  },
  {
    what: "a worker that may hold more than its memory",
    file: "workers/_template/options.env",
    edit: [/^/, "MILLRACE_BYTES_MAX=536870912\n"],
    fault: /worker-digits: may hold 1152 MiB, and is killed at 1024/,
  },
  {
    what: "too little grace",
    file: GATEWAY,
    edit: [/Seconds: 50/, "Seconds: 49"],
    fault: /49 s are not enough to drain/,
  },
  {
    what: "a drain that cuts the longest request",
    file: "base/gateway/options.env",
    edit: [/MS_MAX=30000/, "MS_MAX=31000"],
    fault: /gateway: a drain of 45 s cuts what it serves, 41 s/,
  },
  {
    what: "a drain that cuts what a client may ask for where nothing is set",
    file: "base/gateway/options.env",
    edit: [/MILLRACE_REQUEST_TIMEOUT_MS_MAX=.*/, ""],
    fault: /gateway: a drain of 45 s cuts what it serves, 310 s/,
  },
  {
    what: "a broker whose drain cuts the longest request",
    file: "base/broker/options.env",
    edit: [/MS=35000/, "MS=34000"],
    fault: /broker: a drain of 34 s cuts what it serves, 30 s/,
  },
  {
    what: "workers whose drain, the default, cuts the longest request",
    file: "workers/_template/options.env",
    edit: [/MILLRACE_DRAIN_GRACE_MS=.*/, ""],
    fault: /worker-digits: a drain of 30 s cuts what it serves, 30 s/,
  },
  {
    what: "a longer sleep without more grace",
    file: "base/broker/deployment.yaml",
    edit: [/seconds: 35/, "seconds: 36"],
    fault: /broker: 75 s are not enough to drain/,
  },
  {
    what: "a broker that leaves before its successor is found",
    file: "base/broker/deployment.yaml",
    edit: [/seconds: 35/, "seconds: 0"],
    fault: /broker: stops 0 s after it is told to/,
  },
  {
    what: "pods that no policy holds for",
    file: "base/network-policy.yaml",
    edit: [/(podSelector.*)name: millrace/, "$1component: broker"],
    fault: /^worker-digits: no network policy$/m,
  },
  {
    what: "a policy for nobody",
    file: "base/gateway/network-policy.yaml",
    edit: [/(podSelector.*): gateway/, "$1: gateways"],
    fault: /^gateway: a policy for nobody\ngateway: port 8000 is for anyone, and admits nobody$/m,
  },
  {
    what: "a policy for a port that the pod has not",
    file: "base/gateway/network-policy.yaml",
    edit: [/port: 8000/, "port: 8080"],
    fault: /gateway: a policy names port 8080/,
  },
  {
    what: "a broker that takes whoever comes for a worker",
    file: "base/broker/network-policy.yaml",
    edit: [/ {4}- from:\n.*worker.*\n {6}ports/, "    - ports"],
    fault: /broker: port 5551 is for worker, and admits anyone/,
  },
  {
    what: "a peer that does not exist",
    file: "base/broker/network-policy.yaml",
    edit: [/component: worker /, "component: workers "],
    fault: /broker: port 5551 is for worker, and admits \{"podSelector"/,
  },
  {
    what: "a rule for every port",
    file: "base/broker/network-policy.yaml",
    edit: [/(component: gateway .*)\n.*5550.*/, "$1"],
    fault: /broker: port 9100 is for scrapers, and admits gateway and scrapers/,
  },
  {
    what: "an admin port for every namespace",
    file: "base/network-policy.yaml",
    edit: [/namespaceSelector: .*/, "namespaceSelector: {}"],
    fault: /worker-digits: port 9100 is for scrapers, and admits \{"namespaceSelector":\{\}\}/,
  },
  {
    what: "a port that the pod has not",
    file: "base/gateway/service.yaml",
    edit: [/targetPort: http\b/, "targetPort: web"],
    fault: /no port web/,
  },
  { what: "the other side's broker port", file: GATEWAY, edit: [/:5550/, ":5551"], fault: /not the port for gateways/ },
  {
    what: "a budget for nobody",
    file: "base/broker/pdb.yaml",
    edit: [/(matchLabels.*): broker/, "$1: brokers"],
    fault: /broker: 0 disruption budgets/,
  },
  {
    what: "an image without a version",
    file: "overlays/dev/kustomization.yaml",
    edit: [/newTag: dev/, "newTag: latest"],
    fault: /is not one version/,
  },
];

test.each(BREAKAGES)("$what fails", async ({ file, overlay = "dev", edit, fault }) => {
  await using copy = await temporaryFolder();
  await cp(K8S, copy.path, { recursive: true });
  const path = join(copy.path, file);
  const text = await readFile(path, "utf8");
  const broken = text.replace(...edit);
  expect(broken, "the edit changes nothing").not.toBe(text);
  await writeFile(path, broken);
  const faults = await faultsOf(overlay, copy.path);
  expect(faults.join("\n")).toMatch(fault);
});
