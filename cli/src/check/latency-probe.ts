import { Endpoint } from "./endpoint.ts";
import { plainForm } from "./inference-checks.ts";
import { CheckFault, inferRequest } from "./messages.ts";
import type { Subject } from "./subject.ts";

/** Share of the time that is not counted: connections, and the server's first steps. */
const WARM_UP = 0.2;

/** How fast answers came over so many connections. Times in milliseconds, over all answers with status 200. */
export type Latency = {
  readonly connections: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
  readonly answers: number;
  /** Everything else than 200, the first as it was told. */
  readonly failures: number;
  readonly failure: string | undefined;
};

/** A closed loop: each connection asks for one row, and again as soon as it has the answer, for so many seconds. */
export async function probeLatency(
  subject: Subject,
  load: { readonly url: URL; readonly connections: number; readonly seconds: number },
): Promise<Latency> {
  const { url, connections, seconds } = load;
  using endpoint = new Endpoint(url, connections);
  const request = inferRequest(subject.madeUp(1), plainForm(subject));
  const times: number[] = [];
  let failures = 0;
  let failure: string | undefined;
  const startMs = performance.now();
  const countedMs = startMs + 1_000 * seconds * WARM_UP;
  const endMs = startMs + 1_000 * seconds;
  const ask = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const fromMs = performance.now();
      const status = await endpoint.post(`${subject.path}/infer`, request).then(
        (answer) => (answer.status === 200 ? "" : `status ${answer.status}`),
        (error: unknown) => (error instanceof CheckFault ? error.message : String(error)),
      );
      if (status !== "") {
        failures += 1;
        failure ??= status;
        if (failures > connections && times.length === 0) return;
      } else if (fromMs >= countedMs) times.push(performance.now() - fromMs);
    }
  };
  await Promise.all(Array.from({ length: connections }, ask));
  const spanSeconds = (performance.now() - countedMs) / 1_000;
  times.sort((one, other) => one - other);
  const quantile = (q: number): number => times[Math.max(0, Math.ceil(q * times.length) - 1)] ?? Number.NaN;
  return {
    connections,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    perSecond: times.length / spanSeconds,
    answers: times.length,
    failures,
    failure,
  };
}
