import { once } from "node:events";
import { createFeatureLookup, type FeatureLookup, type FeatureStore, type LookupOptions } from "./feature-lookup.ts";

/** The fields of a hash, as Redis holds them; null where the hash lacks one. */
export type RedisFeatures<Field extends string> = Readonly<Record<Field, string | null>>;

export type RedisFeaturesOptions<Field extends string> = LookupOptions<RedisFeatures<Field>> & {
  /** `redis[s]://[[user][:password]@]host[:port][/db]`. */
  readonly url: string;
  /** The fields to read of each entity's hash; at least one. */
  readonly fields: readonly Field[];
  /** The key of an entity's hash; by default its id. */
  readonly key?: (id: string) => string;
};

/** Commands that may wait for Redis, answered or not, before look-ups fail at once. */
const COMMANDS_MAX = 10_000;

/** How long a lost connection waits before it is tried again, at most, in milliseconds. */
const RECONNECT_MS_MAX = 1_000;

/**
 * Features from Redis: one hash an entity, `HMGET` of the fields, all entities of a look-up in one round trip. An entity without
 * any of the fields is not known. The client (`@redis/client`) is loaded and connects now, as loading it holds the event loop for a
 * good part of a second; without a connection a look-up waits for one, for its time, or until connecting fails; then the fallback holds.
 */
export function redisFeatures<const Field extends string>(
  options: RedisFeaturesOptions<Field>,
): FeatureLookup<RedisFeatures<Field>> {
  const { url, fields, key = (id) => id, ...lookup } = options;
  if (fields.length === 0) throw new RangeError("fields: at least one");
  if (!/^rediss?:$/.test(new URL(url).protocol)) throw new RangeError("url: redis:// or rediss://");
  return createFeatureLookup<RedisFeatures<Field>>(redisStore({ url, fields, key }), lookup);
}

type Connection = Awaited<ReturnType<typeof connect>>;

function redisStore<Field extends string>(of: {
  readonly url: string;
  readonly fields: readonly Field[];
  readonly key: (id: string) => string;
}): FeatureStore<RedisFeatures<Field>> {
  let opening: Promise<Connection> | undefined = connect(of.url);
  // The first look-up is told.
  opening.catch(() => {});
  return {
    fetch: async (ids, signal) => {
      opening ??= connect(of.url);
      const client = await opening;
      // Rejects when connecting has failed, too: it is tried again meanwhile, by itself.
      if (!client.isReady) await once(client, "ready", { signal });
      // Commands of one turn leave together.
      const rows = await Promise.all(ids.map((id) => client.hmGet(of.key(id), [...of.fields])));
      return rows.map((values) => toFeatures(of.fields, values));
    },
    close: async () => {
      const client = await opening;
      opening = undefined;
      client?.destroy();
    },
  };
}

async function connect(url: string) {
  const { createClient } = await import("@redis/client");
  const client = createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: COMMANDS_MAX,
    maintNotifications: "disabled",
    socket: { reconnectStrategy: (tries) => Math.min(RECONNECT_MS_MAX, 50 * 2 ** Math.min(tries, 10)) },
  });
  client.setMaxListeners(0);
  // Whoever looks something up is told.
  client.on("error", () => {});
  client.connect().catch(() => {});
  return client;
}

function toFeatures<Field extends string>(
  fields: readonly Field[],
  values: readonly (string | null)[],
): RedisFeatures<Field> | undefined {
  if (values.every((value) => value === null)) return undefined;
  return Object.fromEntries(fields.map((field, at) => [field, values[at] ?? null])) as RedisFeatures<Field>;
}
