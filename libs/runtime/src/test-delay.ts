import { isStage, STAGES, type Stage } from "./stage.ts";

/** The longest delay that a test may ask for, in milliseconds. */
const TEST_DELAY_MS_MAX = 60_000;

/**
 * Parses the option `testDelay`: `stage:ms[,stage:ms…]`, each `ms` a whole number from 0 to 60,000, "" for none.
 * A role sleeps that long inside the stage. Only tests use it: they slow one stage and look for it in the timings.
 *
 * @throws {RangeError} for an unknown or repeated stage, or a delay out of range; the message names it.
 */
export function parseTestDelay(text: string): ReadonlyMap<Stage, number> {
  const delays = new Map<Stage, number>();
  if (text === "") return delays;
  for (const part of text.split(",")) {
    const [stage = "", delay = "", ...rest] = part.trim().split(":");
    if (!isStage(stage)) throw new RangeError(`"${stage}" is no stage; stages are ${Object.keys(STAGES).join(", ")}`);
    if (delays.has(stage)) throw new RangeError(`stage "${stage}" is given twice`);
    if (!/^\d+$/.test(delay) || rest.length > 0 || Number(delay) > TEST_DELAY_MS_MAX) {
      throw new RangeError(`"${part.trim()}" must be stage:ms with ms from 0 to ${TEST_DELAY_MS_MAX}`);
    }
    delays.set(stage, Number(delay));
  }
  return delays;
}
