import { createFeatureLookup, type FeatureLookup, type FeatureStore, type LookupOptions } from "./feature-lookup.ts";

/** What a Feast feature server knows of one entity, by the feature's name without its view; null where it has no value. */
export type FeastFeatures = Readonly<Record<string, unknown>>;

export type FeastFeaturesOptions = LookupOptions<FeastFeatures> & {
  /** Where the feature server is, such as `http://feast:6566`. */
  readonly url: string;
  /** Features as Feast refers to them: `view:feature`; at least one. No two may have the same name. */
  readonly features: readonly string[];
  /** The join key of the entity, such as `driver_id`. */
  readonly entity: string;
  /** What the ids are in Feast; default "string". */
  readonly entityType?: "string" | "integer";
  /** More headers, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
};

/**
 * Features from a feature server that speaks Feast's HTTP interface: one `POST /get-online-features` a look-up. An entity all of
 * whose features are NOT_FOUND is not known; a value that is OUTSIDE_MAX_AGE counts as none.
 * Source: https://docs.feast.dev/reference/feature-servers/python-feature-server, and feast/feature_server.py of Feast 0.67.
 */
export function feastFeatures(options: FeastFeaturesOptions): FeatureLookup<FeastFeatures> {
  const { url, features, entity, entityType = "string", headers = {}, ...lookup } = options;
  const names = features.map((feature) => feature.split(":", 2)[1] ?? "");
  if (names.length === 0 || names.includes("")) throw new RangeError("features: at least one, as view:feature");
  if (new Set(names).size < names.length) throw new RangeError("features: two have the same name");
  const target = new URL("get-online-features", url.endsWith("/") ? url : `${url}/`);
  const store: FeatureStore<FeastFeatures> = {
    fetch: async (ids, signal) => {
      const response = await fetch(target, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: requestText(ids),
        signal,
      });
      // Read in any case: the connection then serves again.
      const text = await response.text();
      if (!response.ok) throw new Error(`the feature server answered with status ${response.status}`);
      return readAnswer(JSON.parse(text), names, ids.length);
    },
    // fetch() keeps its connections itself, and ends them when they idle.
    close: () => Promise.resolve(),
  };
  return createFeatureLookup(store, lookup);

  /** Integers as they are written: their digits may be more than a number holds. */
  function requestText(ids: readonly string[]): string {
    const isInteger = entityType === "integer";
    const wrong = isInteger ? ids.find((id) => !/^-?(0|[1-9]\d*)$/.test(id)) : undefined;
    if (wrong !== undefined) throw new TypeError("an id is not an integer");
    const values = isInteger ? ids : ids.map((id) => JSON.stringify(id));
    return `{"features":${JSON.stringify(features)},"entities":{${JSON.stringify(entity)}:[${values.join(",")}]}}`;
  }
}

/** The rows of an answer; throws where it is not of Feast's form. */
function readAnswer(answer: unknown, names: readonly string[], count: number): (FeastFeatures | undefined)[] {
  const { metadata, results } = answer as {
    metadata?: { feature_names?: unknown };
    results?: readonly { values?: readonly unknown[]; statuses?: readonly string[] }[];
  };
  const columns = metadata?.feature_names;
  if (!Array.isArray(columns) || !Array.isArray(results)) throw new Error("not an answer of a feature server");
  const found = names.map((name) => {
    const { values, statuses } = results[columns.indexOf(name)] ?? {};
    if (!Array.isArray(values) || values.length !== count) throw new Error(`the answer lacks feature ${name}`);
    if (!Array.isArray(statuses) || statuses.length !== count) throw new Error(`feature ${name} has no statuses`);
    return { values, statuses };
  });
  return Array.from({ length: count }, (_, row) => {
    if (found.every(({ statuses }) => statuses[row] === "NOT_FOUND")) return undefined;
    return Object.fromEntries(
      names.map((name, at) => {
        const { values, statuses } = found[at]!;
        return [name, statuses[row] === "PRESENT" ? values[row] : null];
      }),
    );
  });
}
