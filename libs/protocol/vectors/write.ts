/**
 * Writes mrp1.json anew from the definitions in ../src/testing: `node libs/protocol/vectors/write.ts`.
 *
 * The file is the protocol's memory: what stands in it was true of every release since. So it is written by hand only when a
 * command or a case is added, and its diff is read; a line that changes is a change of the wire.
 */
import { writeFileSync } from "node:fs";
import { createVectors } from "../src/testing/vector.ts";

writeFileSync(new URL("mrp1.json", import.meta.url), `${JSON.stringify(createVectors(), undefined, 2)}\n`);
