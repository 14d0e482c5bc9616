import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

/** What the server says of a name: its IPv4 addresses, that there is no such name, that it failed, or nothing at all. */
export type DnsAnswer = readonly string[] | "NXDOMAIN" | "SERVFAIL" | "silence";

/** Long on purpose: whoever keeps answers for as long as they allow would not notice a change within a test. */
const TTL_S = 300;

const TYPE_A = 1;
const RCODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;

/** A DNS server for A records over UDP on a loopback port. Names that it was not told of do not exist. */
export class DnsServer implements AsyncDisposable {
  /** Queries that have come, answered or not. */
  queries = 0;
  readonly #socket: Socket;
  readonly #answers = new Map<string, DnsAnswer>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (query, from) => this.#onQuery(query, from));
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new DnsServer(socket);
  }

  /** `IP:PORT`, as the option `dnsServers` takes it. */
  get address(): string {
    const { address, port }: AddressInfo = this.#socket.address();
    return `${address}:${port}`;
  }

  /** What a name, without a final dot, gives from now on. */
  set(name: string, answer: DnsAnswer): void {
    this.#answers.set(name, answer);
  }

  /** Resolves when so many more queries have come. */
  async asked(count: number): Promise<void> {
    for (const until = this.queries + count; this.queries < until;) await once(this.#socket, "message");
  }

  #onQuery(query: Buffer, { address, port }: RemoteInfo): void {
    this.queries++;
    const { name, type, end } = questionOf(query);
    const answer = this.#answers.get(name) ?? "NXDOMAIN";
    if (answer === "silence") return;
    const addresses = typeof answer === "string" || type !== TYPE_A ? [] : answer;
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    // A response, recursion desired and available, with its code.
    header.writeUInt16BE(0x8180 | (typeof answer === "string" ? RCODES[answer] : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    this.#socket.send(Buffer.concat([header, query.subarray(12, end), ...addresses.map(recordOf)]), port, address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await once(this.#socket, "close");
  }
}

/** The one question of a query, and where it ends. */
function questionOf(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** An A record of the question's name. */
function recordOf(address: string): Buffer {
  const record = Buffer.alloc(16);
  // A pointer to the question's name.
  record.writeUInt16BE(0xc00c, 0);
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(TTL_S, 6);
  record.writeUInt16BE(4, 10);
  for (const [index, octet] of address.split(".").entries()) record[12 + index] = Number(octet);
  return record;
}
