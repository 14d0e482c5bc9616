import { DevSystem } from "../tests/support/system.ts";
import { PEERS } from "./peers/peers.ts";
import type { SideRow } from "./side.ts";

/** Millrace with so many gateways and workers, one thread for each worker's model. */
export function millrace(gateways: number, workers: number): SideRow {
  const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
  const settings = `${plural(gateways, "gateway")}, ${plural(workers, "worker")}`;
  return {
    name: `Millrace, ${settings}`,
    form: "oip",
    isTimed: true,
    settings: `${settings}, --threads 1, --log-level warn`,
    advice: "",
    missing: () => "",
    start: async ({ repository }) => {
      const args = ["--threads", "1", "--log-level", "warn"];
      const system = await DevSystem.start({ models: repository, gateways, workers, args });
      return Object.assign(system, { processes: () => system.process.tree() });
    },
  };
}

/** Everything that can be measured; names are unique. */
export const SIDES: readonly SideRow[] = [
  millrace(1, 1),
  millrace(2, 1),
  millrace(1, 2),
  millrace(2, 2),
  millrace(1, 4),
  ...PEERS,
];
