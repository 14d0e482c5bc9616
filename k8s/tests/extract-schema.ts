/**
 * Cuts the kinds that these manifests use out of Kubernetes' OpenAPI document, as a strict JSON schema: a field that the API does
 * not know is refused. `node k8s/tests/extract-schema.ts SWAGGER_JSON`; the document is `api/openapi-spec/swagger.json` of the Go
 * module `k8s.io/kubernetes`. Writes `kubernetes.schema.json`, which is kept.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** By `apiVersion/kind`. */
const KINDS: Readonly<Record<string, string>> = {
  "v1/ConfigMap": "io.k8s.api.core.v1.ConfigMap",
  "v1/Service": "io.k8s.api.core.v1.Service",
  "apps/v1/Deployment": "io.k8s.api.apps.v1.Deployment",
  "autoscaling/v2/HorizontalPodAutoscaler": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
  "networking.k8s.io/v1/NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
  "policy/v1/PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
};

/** Numbers with a unit, and counts or percentages: texts or numbers. */
const NUMBER_OR_TEXT = new Set([
  "io.k8s.apimachinery.pkg.api.resource.Quantity",
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
]);

type Schema = { readonly [key: string]: unknown };

const [, , path = "", version = ""] = process.argv;
const document = JSON.parse(readFileSync(path, "utf8")) as {
  readonly definitions: Readonly<Record<string, Schema>>;
};
const definitions: Record<string, Schema> = {};
const shortName = (name: string): string => name.replace(/^io\.k8s\.(api|apimachinery\.pkg)\./, "");

/** Copies a definition and everything that it refers to. */
function take(name: string): string {
  const short = shortName(name);
  if (definitions[short] !== undefined) return short;
  definitions[short] = {};
  definitions[short] = NUMBER_OR_TEXT.has(name)
    ? { type: ["string", "number"] }
    : strict(document.definitions[name] ?? {});
  return short;
}

function strict(schema: Schema): Schema {
  const { $ref, type, properties, items, additionalProperties, required, enum: values } = schema;
  if (typeof $ref === "string") return { $ref: `#/$defs/${take($ref.replace("#/definitions/", ""))}` };
  const kept: Record<string, unknown> = {};
  if (type !== undefined) kept["type"] = type;
  if (values !== undefined) kept["enum"] = values;
  if (items !== undefined) kept["items"] = strict(items as Schema);
  if (required !== undefined) kept["required"] = required;
  if (additionalProperties !== undefined) kept["additionalProperties"] = strict(additionalProperties as Schema);
  if (properties !== undefined) {
    const entries = Object.entries(properties as Record<string, Schema>);
    kept["properties"] = Object.fromEntries(entries.map(([name, property]) => [name, strict(property)]));
    kept["additionalProperties"] = false;
  }
  return kept;
}

const kinds = Object.fromEntries(Object.entries(KINDS).map(([kind, name]) => [kind, `#/$defs/${take(name)}`]));
const text = JSON.stringify({ version, kinds, $defs: definitions });
writeFileSync(join(import.meta.dirname, "kubernetes.schema.json"), `${text}\n`);
