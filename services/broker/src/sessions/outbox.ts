import { type Content, LIMITS, type Message, type RejectItem } from "@millrace/protocol";
import type { GatewaySession } from "./gateway-session.ts";
import type { PeerSession } from "./peer-session.ts";
import type { WorkerSession } from "./worker-session.ts";

type CancelItem = Content<"CANCEL">["items"][number];

/** What leaves the broker: refusals and cancellations are gathered until the turn's decisions are made. Nothing is sent to a session that is gone. */
export class Outbox {
  readonly #deliver: (session: PeerSession, message: Message) => void;
  readonly #rejects = new Map<GatewaySession, RejectItem[]>();
  readonly #cancels = new Map<WorkerSession, CancelItem[]>();

  constructor(deliver: (session: PeerSession, message: Message) => void) {
    this.#deliver = deliver;
  }

  send(session: PeerSession, message: Message): void {
    if (session.state !== "gone") this.#deliver(session, message);
  }

  reject(gateway: GatewaySession, item: RejectItem): void {
    if (gather(this.#rejects, gateway, item) >= LIMITS.items) this.flush();
  }

  cancel(worker: WorkerSession, item: CancelItem): void {
    if (gather(this.#cancels, worker, item) >= LIMITS.items) this.flush();
  }

  /** Sends what was gathered. */
  flush(): void {
    for (const [gateway, items] of this.#rejects) this.send(gateway, { command: "REJECT", items });
    for (const [worker, items] of this.#cancels) this.send(worker, { command: "CANCEL", items });
    this.#rejects.clear();
    this.#cancels.clear();
  }
}

/** Adds to the list of a session; returns its length. */
function gather<K, T>(lists: Map<K, T[]>, key: K, item: T): number {
  const list = lists.get(key);
  if (list !== undefined) return list.push(item);
  lists.set(key, [item]);
  return 1;
}
