import { isIPv6 } from "node:net";
import type { Content, Load, Message } from "@millrace/protocol";
import { BrokerDirectory, type DirectoryAction, type DirectoryEvent, type PollResults } from "./broker-directory.ts";
import { BrokerLink } from "./broker-link.ts";
import { NameResolver } from "./name-resolver.ts";

/** How long a broker in use may have no workers while another has some, in ms: about as long as workers take to find a new broker. */
const IDLE_MS_MAX = 3_000;

/** Every handler is told which broker it is about, by its `tcp://IP:PORT`. None may throw. */
export type BrokerLinksHandlers = {
  /** The session with a broker is open, for the first time or again: what was sent to it before does not count any more. */
  onActive(broker: string, welcome: Content<"WELCOME">): void;
  /** The session was open and is lost: what is unanswered may or may not have arrived. */
  onLost(broker: string, reason: string): void;
  /** It is not listed any more and its session is not open: nothing more is told of it unless it is listed again. */
  onGivenUp?(broker: string): void;
  /** Payloads are views into frames that are valid as long as they are held. */
  onMessage(broker: string, message: Message): void;
  /** New work goes to another broker than before; undefined: to none. For peers that use one broker at a time. */
  onUse?(broker: string | undefined): void;
};

export type BrokerLinksOptions = {
  /** `tcp://HOST:PORT` each: an IPv4 literal, an IPv6 literal in brackets, or a name that is resolved here. */
  readonly brokers: readonly string[];
  /** How long to wait before names are resolved again, in ms. */
  readonly discoveryIntervalMs: number;
  /** See `NameResolver`. */
  readonly dnsServers: readonly string[];
  readonly hello: Content<"HELLO">;
  readonly load: (broker: string) => Load;
  readonly handlers: BrokerLinksHandlers;
  /** A pino logger, or the part of it that is used here. */
  readonly logger: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
};

/** The connections of a gateway or worker to all brokers: the shell of the directory, one link for each address it wants. */
export class BrokerLinks {
  readonly #options: BrokerLinksOptions;
  readonly #directory = new BrokerDirectory();
  readonly #links = new Map<string, BrokerLink>();
  readonly #resolver: NameResolver;
  readonly #hasNames: boolean;
  #timer: NodeJS.Timeout | undefined;
  #isPolling = false;
  #isClosed = false;

  constructor(options: BrokerLinksOptions) {
    this.#options = options;
    this.#resolver = new NameResolver(options.dnsServers);
    const literals = options.brokers.filter((broker) => hostOf(broker).isLiteral);
    this.#hasNames = literals.length < options.brokers.length;
    this.#drive({ type: "polled", results: new Map(literals.map((address) => [address, { addresses: [address] }])) });
    void this.#poll();
  }

  /** The brokers with an open session. */
  get active(): string[] {
    return [...this.#links].filter(([, link]) => link.state === "active").map(([broker]) => broker);
  }

  /** Where new work goes; undefined while no broker can take it. */
  get inUse(): string | undefined {
    return this.#directory.inUse;
  }

  /** Whether no broker takes new work because the last one is shutting down. */
  get isDraining(): boolean {
    return this.#directory.isDraining;
  }

  /** For metrics: the addresses that are connected to, and how often a name was not resolved. */
  get discovery(): { readonly addresses: number; readonly failures: number } {
    return { addresses: this.#links.size, failures: this.#directory.failures };
  }

  /** Sends in an active session; false, and nothing sent, in any other state or to an unknown broker. Never throws. */
  send(broker: string, message: Message): boolean {
    return this.#links.get(broker)?.send(message) ?? false;
  }

  /** Tells whether a broker has workers for any model: of two that can take new work, one that has is used. */
  told(broker: string, isServing: boolean): void {
    this.#drive({ type: "told", address: broker, isServing });
  }

  /** Says goodbye to all, gives what is queued two seconds to leave, and closes. */
  close(reason: string): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#resolver.close();
    for (const link of this.#links.values()) link.close(reason);
  }

  /** Looks all names up, and again after the interval; does nothing where none is given or a look is under way. */
  async #poll(): Promise<void> {
    if (!this.#hasNames || this.#isPolling) return;
    clearTimeout(this.#timer);
    this.#isPolling = true;
    const results: PollResults = new Map(
      await Promise.all(this.#options.brokers.map((broker) => this.#lookUp(broker))),
    );
    this.#isPolling = false;
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#poll(), this.#options.discoveryIntervalMs);
    this.#drive({ type: "polled", results });
  }

  async #lookUp(broker: string): Promise<[string, { addresses: string[] } | { fault: string }]> {
    const { host, port } = hostOf(broker);
    try {
      const found = await this.#resolver.resolve(host);
      return [broker, { addresses: found.map((ip) => `tcp://${isIPv6(ip) ? `[${ip}]` : ip}:${port}`) }];
    } catch (error) {
      return [broker, { fault: error instanceof Error ? error.message : String(error) }];
    }
  }

  #drive(event: DirectoryEvent): void {
    if (this.#isClosed) return;
    for (const action of this.#directory.handle(event)) this.#execute(action);
  }

  #execute(action: DirectoryAction): void {
    const { logger, handlers } = this.#options;
    switch (action.type) {
      case "connect":
        return void this.#links.set(action.address, this.#open(action.address));
      case "disconnect":
        this.#links.get(action.address)?.close("it is not listed any more");
        this.#links.delete(action.address);
        handlers.onGivenUp?.(action.address);
        return logger.info({ address: action.address }, "gave up a broker that is not listed any more");
      case "use":
        return handlers.onUse?.(action.address);
      case "wait":
        setTimeout(() => this.#drive({ ...action, type: "waited" }), IDLE_MS_MAX).unref();
        return;
      case "poll":
        return void this.#poll();
      case "unresolved":
        return logger.warn(
          { name: action.name, reason: action.fault },
          "the brokers' name gives nothing; what it gave last stays",
        );
      case "resolved":
        if (!hostOf(action.name).isLiteral) {
          logger.info({ name: action.name, addresses: action.addresses.join(" ") }, "found the brokers of a name");
        }
    }
  }

  #open(address: string): BrokerLink {
    const { hello, load, handlers, logger } = this.#options;
    return new BrokerLink({
      address,
      hello,
      load: () => load(address),
      handlers: {
        onActive: (welcome) => {
          handlers.onActive(address, welcome);
          this.#drive({ type: "active", address });
        },
        onLost: (reason) => {
          handlers.onLost(address, reason);
          this.#drive({ type: "lost", address });
        },
        onMessage: (message) => {
          handlers.onMessage(address, message);
          if (message.command === "DRAIN") this.#drive({ type: "draining", address });
        },
      },
      onFault: (reason) => logger.warn({ address, reason }, "trouble with a broker"),
    });
  }
}

/** The host of `tcp://HOST:PORT`, without brackets, and whether it is an IP literal. */
function hostOf(broker: string): { readonly host: string; readonly port: string; readonly isLiteral: boolean } {
  const [, host = "", port = ""] = /^tcp:\/\/(.+):(\d+)$/.exec(broker) ?? [];
  const isBracketed = host.startsWith("[");
  const bare = isBracketed ? host.slice(1, -1) : host;
  return { host: bare, port, isLiteral: isBracketed || /^[\d.]+$/.test(host) };
}
