import type { IngressRule, Manifest, Peer } from "./manifest.ts";
import { selects, type Workload } from "./workload.ts";

const ANYONE = "anyone";
/** Pods of a namespace with the label that README.md tells. */
const SCRAPERS = "scrapers";
const SCRAPE_LABEL = { "millrace/scrape": "true" };

/** Who may talk to what: the roles, by the role and its port. */
const ADMITTED: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  gateway: { 8000: ANYONE, 9100: SCRAPERS },
  broker: { 5550: "gateway", 5551: "worker", 9100: SCRAPERS },
  worker: { 9100: SCRAPERS },
};

/** The policies select every pod, name ports that its container has, and admit to each port those of the table and nobody else. */
export function reachFaults(manifests: readonly Manifest[], workloads: readonly Workload[]): string[] {
  const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
  const idle = policies.filter((policy) => !workloads.some((workload) => holdsFor(policy, workload)));
  return [
    ...idle.map(({ metadata }) => `${metadata.name}: a policy for nobody`),
    ...workloads.flatMap((workload) => {
      const own = policies.filter((policy) => holdsFor(policy, workload));
      return own.length === 0 ? [`${workload.name}: no network policy`] : portFaults(workload, own, workloads);
    }),
  ];
}

/** Policies add up: a rule of any of them admits. */
function portFaults(
  { name, container }: Workload,
  policies: readonly Manifest[],
  workloads: readonly Workload[],
): string[] {
  const rules = policies.flatMap(({ spec }) => spec?.ingress ?? []);
  const ports = (container.ports ?? []).map(({ containerPort }) => containerPort);
  const unknown = rules
    .flatMap((rule) => rule.ports ?? [])
    .filter(({ port, protocol = "TCP", endPort }) => !ports.some((it) => it === port) || protocol !== "TCP" || endPort);
  return [
    ...unknown.map(({ port }) => `${name}: a policy names port ${port}, which the container has not`),
    ...ports.flatMap((port) => {
      const given = admittedBy(rules, port, workloads);
      const wanted = ADMITTED[container.name]?.[port] ?? "nobody";
      return given === wanted ? [] : [`${name}: port ${port} is for ${wanted}, and admits ${given}`];
    }),
  ];
}

/** Whom rules let in at a port, sorted; "nobody" where none does. */
function admittedBy(rules: readonly IngressRule[], port: number, workloads: readonly Workload[]): string {
  const open = rules.filter(({ ports = [] }) => ports.length === 0 || ports.some((it) => it.port === port));
  const admitted = open.flatMap(({ from = [] }) =>
    from.length === 0 ? [ANYONE] : from.map((it) => who(it, workloads)),
  );
  return [...new Set(admitted)].toSorted().join(" and ") || "nobody";
}

/** The roles that a peer stands for, or its text where it is nobody known. */
function who(peer: Peer, workloads: readonly Workload[]): string {
  const { podSelector, namespaceSelector, ...others } = peer;
  const text = JSON.stringify(peer);
  if (Object.keys(others).length > 0) return text;
  if (namespaceSelector !== undefined) {
    return text === JSON.stringify({ namespaceSelector: { matchLabels: SCRAPE_LABEL } }) ? SCRAPERS : text;
  }
  const chosen = workloads.filter(({ labels }) => selects(podSelector?.matchLabels, labels));
  return [...new Set(chosen.map(({ container }) => container.name))].join(" and ") || text;
}

function holdsFor({ spec }: Manifest, { labels }: Workload): boolean {
  return spec?.policyTypes?.includes("Ingress") === true && selects(spec.podSelector?.matchLabels, labels);
}
