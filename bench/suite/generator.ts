import { spawnSync } from "node:child_process";
import type { LoadPlace } from "../../tests/support/load.ts";

/** Whether load generators come before everything else that waits for a core. */
export type GeneratorPriority = "first" | "as all";

/** Above what is measured, should that have real-time priority itself. */
const AHEAD = ["chrt", "--rr", "2"] as const;

/** Asked once: the system allows it to root, mostly. */
const mayBeFirst = spawnSync(AHEAD[0], [...AHEAD.slice(1), "true"]).status === 0;

export const GENERATOR_PRIORITY: GeneratorPriority = mayBeFirst ? "first" : "as all";

/**
 * Where generators run: with real-time priority where the system allows it. They share the cores with what they load, and what an instrument waits
 * for is told as latency of the system. They sleep until something is due or comes, and take what they took before.
 */
export const GENERATOR: LoadPlace = mayBeFirst ? { through: AHEAD } : {};
