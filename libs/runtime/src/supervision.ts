/** What a process tells its supervisor over the IPC channel. */
export type SupervisorMessage = {
  readonly type: "ready";
  /**
   * Where it listens, by role. Broker: `gateways` and `workers` (`tcp://IP:PORT`), `admin` (`http://IP:PORT`), `dashboard` (a page
   * of it). Gateway: `http`, `admin`. Worker: `admin`.
   */
  readonly addresses: Readonly<Record<string, string>>;
};

/** Tells the supervisor, if there is one, that this process does its work, and where. Never throws. */
export function reportReady(report: { readonly addresses: Readonly<Record<string, string>> }): void {
  if (process.send === undefined || !process.connected) return;
  const message: SupervisorMessage = { type: "ready", addresses: report.addresses };
  // A supervisor that goes away in this moment is noticed as a disconnect, which drains.
  process.send(message, undefined, undefined, () => {});
}

/** Checks what came over the channel. */
export function isSupervisorMessage(value: unknown): value is SupervisorMessage {
  if (typeof value !== "object" || value === null) return false;
  if (!("type" in value) || value.type !== "ready" || !("addresses" in value)) return false;
  const { addresses } = value;
  if (typeof addresses !== "object" || addresses === null) return false;
  return Object.values(addresses).every((address) => typeof address === "string");
}
