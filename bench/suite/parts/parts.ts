import type { PartRow } from "../part.ts";
import { burst } from "./burst.ts";
import { killedWorker, pauses, restartedBroker, slowWorker, slowSpell } from "./faults.ts";
import { overload } from "./overload.ts";
import { poisson } from "./poisson.ts";
import { pooling } from "./pooling.ts";
import { lone, saturated } from "./saturated.ts";
import { degraded, normal, peak, spike } from "./shapes.ts";
import { shared } from "./shared.ts";
import { lengths, sizes } from "./sizes.ts";
import { tenants } from "./tenants.ts";
import { uneven } from "./uneven.ts";

/** Every part, in the order in which they run: later ones use what earlier ones have found. */
export const PARTS: readonly PartRow[] = [
  lone,
  saturated,
  burst,
  poisson,
  overload,
  uneven,
  shared,
  sizes,
  lengths,
  slowWorker,
  pauses,
  killedWorker,
  restartedBroker,
  slowSpell,
  pooling,
  tenants,
  normal,
  peak,
  degraded,
  spike,
];
