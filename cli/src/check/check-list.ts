import { inferenceChecks } from "./inference-checks.ts";
import { serverChecks } from "./server-checks.ts";
import { type Check, Missing, NoOccasion, type Subject } from "./subject.ts";

/** All of them, in the order in which they run. */
const CHECKS: readonly Check[] = [...serverChecks, ...inferenceChecks];

/** `missing`: a feature that nothing has promised, or for which this model gives no occasion. */
export type CheckResult = {
  readonly name: string;
  readonly mandatory: boolean;
  readonly result: "ok" | "failed" | "missing";
  readonly detail: string;
};

/** Runs the whole list; a check that fails keeps no other from running. */
export async function runChecks(subject: Subject, onResult: (result: CheckResult) => void): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of CHECKS) {
    const promised = check.extension === undefined || subject.extensions.includes(check.extension);
    const base = { name: check.name, mandatory: promised };
    const result = await check.run(subject).then(
      (detail): CheckResult => ({ ...base, result: "ok", detail }),
      (error: unknown): CheckResult => {
        if (error instanceof NoOccasion) return { ...base, mandatory: false, result: "missing", detail: error.message };
        const detail = error instanceof Error ? error.message : String(error);
        if (!(error instanceof Missing)) return { ...base, result: "failed", detail };
        return { ...base, result: promised ? "failed" : "missing", detail };
      },
    );
    results.push(result);
    onResult(result);
  }
  return results;
}
