import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Manifest } from "./manifest.ts";

type Document = {
  readonly kinds: Readonly<Record<string, string>>;
  readonly $defs: Readonly<Record<string, z.core.JSONSchema.JSONSchema>>;
};

const { kinds, $defs } = JSON.parse(
  readFileSync(join(import.meta.dirname, "kubernetes.schema.json"), "utf8"),
) as Document;

const compiled = new Map<string, z.ZodType>();

/** What the API would not take of an object, unknown fields included; see `extract-schema.ts`. */
export function schemaFaults(manifest: Manifest): string[] {
  const kind = `${manifest.apiVersion}/${manifest.kind}`;
  const $ref = kinds[kind];
  if ($ref === undefined) return [`${kind}: a kind without a schema; add it to extract-schema.ts`];
  let schema = compiled.get(kind);
  if (schema === undefined) compiled.set(kind, (schema = z.fromJSONSchema({ $ref, $defs })));
  const { error } = schema.safeParse(manifest);
  const issues = error?.issues ?? [];
  return issues.map(({ path, message }) => `${kind} ${manifest.metadata.name}: ${path.join(".")}: ${message}`);
}
