import type { PartRow } from "../part.ts";
import { burst } from "./burst.ts";
import { overload } from "./overload.ts";
import { poisson } from "./poisson.ts";

/** Every part, in the order in which they run: later ones use what earlier ones have found. */
export const PARTS: readonly PartRow[] = [burst, poisson, overload];
