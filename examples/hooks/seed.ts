/**
 * Puts what the examples look up into Redis: the ten images of examples/digits as `image:0` to `image:9`, and the catalogue of vectors.
 *
 *   node examples/hooks/seed.ts [redis://HOST:PORT]
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@redis/client";

const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const DIGITS = join(import.meta.dirname, "../digits");

const client = createClient({ url: process.argv[2] ?? "redis://127.0.0.1:6379" });
await client.connect();
for (const [digit, name] of NAMES.entries()) {
  const request = JSON.parse(await readFile(join(DIGITS, `${digit}.json`), "utf8")) as {
    inputs: readonly [{ data: readonly number[] }];
  };
  const pixels = request.inputs[0].data.flat().map((value, i): [string, string] => [`p${i}`, String(value)]);
  await client.hSet(`image:${digit}`, Object.fromEntries(pixels));
  // As an ideal model would answer: all of it one digit.
  const vector = NAMES.map((_, i) => (i === digit ? 1 : 0));
  await client.hSet("catalogue", name, JSON.stringify(vector));
}
await client.close();
