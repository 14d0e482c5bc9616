import { join } from "node:path";

/** The root of this repository. */
export const ROOT = join(import.meta.dirname, "..", "..");

/** The Node of the lock file, whichever one runs the tests. */
export const NODE = join(ROOT, "node_modules", ".bin", "node");
