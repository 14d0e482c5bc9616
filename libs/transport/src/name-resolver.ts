import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";

/** How long one server may take for one answer, in ms, and how often it is asked: a poll must end before many more are due. */
const QUERY_TIMEOUT_MS = 1_000;
const QUERY_TRIES = 2;

/** Answers that say that there is nothing of the kind asked for; anything else is a failure to answer. */
const NOTHING_THERE = new Set(["ENOTFOUND", "ENODATA"]);

/**
 * Host names to IP addresses: A records, AAAA only where there are none (one broker must not be found twice), and last what only
 * the system knows, such as `localhost` and /etc/hosts. Records are asked for by c-ares on the event loop, and go stale nowhere
 * in this process; the system's lookup blocks one of libuv's few threads, so it is not where a pod's polls should end.
 */
export class NameResolver {
  readonly #resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  readonly #hasOwnServers: boolean;

  /** `servers`: `IP` or `IP:PORT` each, asked in place of everything the system has; [] = the system's. */
  constructor(servers: readonly string[]) {
    this.#hasOwnServers = servers.length > 0;
    if (this.#hasOwnServers) this.#resolver.setServers(servers);
  }

  /** The addresses of a host, at least one. @throws {Error} whose message says why there is none. */
  async resolve(host: string): Promise<string[]> {
    if (isIP(host) !== 0) return [host];
    try {
      return (await this.#records(host)) ?? (this.#hasOwnServers ? none(host) : await lookupSystem(host));
    } catch (error) {
      throw new Error(`${host} cannot be resolved: ${codeOf(error)}`, { cause: error });
    }
  }

  close(): void {
    this.#resolver.cancel();
  }

  async #records(host: string): Promise<string[] | undefined> {
    for (const ask of [this.#resolver.resolve4.bind(this.#resolver), this.#resolver.resolve6.bind(this.#resolver)]) {
      try {
        const addresses = await ask(host);
        if (addresses.length > 0) return addresses;
      } catch (error) {
        if (!NOTHING_THERE.has(codeOf(error))) throw error;
      }
    }
    return undefined;
  }
}

async function lookupSystem(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  const ofFamily = (family: number): string[] => found.filter((one) => one.family === family).map((one) => one.address);
  const [v4, v6] = [ofFamily(4), ofFamily(6)];
  return v4.length > 0 ? v4 : v6;
}

function none(host: string): never {
  throw Object.assign(new Error(host), { code: "ENOTFOUND" });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
