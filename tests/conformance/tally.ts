import { spawn } from "node:child_process";
import { once } from "node:events";

/** How many cases held and how many did not. */
export type Tally = { readonly passed: number; readonly failed: number };

/** The sum of several. */
export function sumOf(tallies: readonly Tally[]): Tally {
  const sum = (key: keyof Tally): number => tallies.reduce((total, tally) => total + tally[key], 0);
  return { passed: sum("passed"), failed: sum("failed") };
}

/**
 * Runs a program whose last line ends with `N passed, N failed`, shows what it writes, and gives that. One that ends otherwise, or
 * with another code than 0 and no failure, has one failure more.
 */
export async function tallyOf(program: string, argv: readonly string[]): Promise<Tally> {
  const child = spawn(program, argv, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PYTHONUNBUFFERED: "1" },
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    process.stdout.write(chunk);
  });
  const [code] = (await once(child, "close")) as [number | null];
  const [, passed, failed] = /(\d+) passed, (\d+) failed\n$/.exec(text) ?? [];
  if (passed === undefined || Number(passed) === 0)
    return { passed: Number(passed ?? 0), failed: Number(failed ?? 0) + 1 };
  return { passed: Number(passed), failed: code === 0 ? Number(failed) : Math.max(Number(failed), 1) };
}
