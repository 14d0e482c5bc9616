/**
 * Clients get the three images of a catalogue that look most alike to the model: a search by cosine over vectors that Redis holds. For
 * more than some thousand vectors ask a vector database here instead.
 */
import { elementsOf, LookupFailed, type Postprocess, redisFeatures, type TensorSpec } from "@millrace/hooks";

const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] as const;
const NEAREST = 3;

const catalogue = redisFeatures({
  url: process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379",
  fields: NAMES,
  timeoutMs: 200,
  fallback: "stale",
});

export const outputs: readonly TensorSpec[] = [{ name: "nearest", datatype: "BYTES", shape: [-1, NEAREST] }];

export const postprocess: Postprocess = async (answer, context) => {
  const [known] = await catalogue.get(["catalogue"], context);
  // Without it any three would look alike.
  if (known === undefined) throw new LookupFailed("Redis holds no catalogue");
  const vectors = NAMES.map((name) => JSON.parse(known[name] ?? "[]") as readonly number[]);
  const probabilities = elementsOf(answer.outputs, "probabilities", "FP32");
  const data: string[] = [];
  for (let at = 0; at < probabilities.length; at += NAMES.length) {
    const row = probabilities.subarray(at, at + NAMES.length);
    const scored = NAMES.map((name, i) => ({ name, score: cosine(row, vectors[i] ?? []) }));
    const best = scored.toSorted((a, b) => b.score - a.score).slice(0, NEAREST);
    data.push(...best.map(({ name }) => name));
  }
  return { nearest: { shape: [data.length / NEAREST, NEAREST], data } };
};

function cosine(a: Float32Array, b: readonly number[]): number {
  const dot = a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b) || 1);
}
