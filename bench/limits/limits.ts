import type { LimitMeasurement } from "../results.ts";
import { brokerLimit, residenceLimit } from "./broker.ts";
import { echoLimit } from "./echo.ts";
import { onnxLimit } from "./onnx.ts";

export type LimitOptions = {
  readonly rounds: number;
  /** Of one measurement. */
  readonly ms: number;
  /** For files. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Hears how far it is. */
  readonly say: (text: string) => void;
};

/** What a part can do at best, with nothing around it. */
export type LimitRow = {
  readonly name: string;
  readonly title: string;
  measure(options: LimitOptions): Promise<LimitMeasurement[]>;
};

export const LIMITS: readonly LimitRow[] = [onnxLimit, echoLimit, brokerLimit, residenceLimit];
