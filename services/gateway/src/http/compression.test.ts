import { deflateSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { expand, type Expansion } from "./compression.ts";
import { Refusal } from "./refusal.ts";

const MIB = 1024 * 1024;

/** What comes of a body, and all times that it was told. */
async function expanded(body: Buffer, given: Partial<Expansion> = {}): Promise<readonly (Buffer | Refusal)[]> {
  const told: (Buffer | Refusal)[] = [];
  await new Promise<void>((resolve) => {
    expand(body, { coding: "gzip", bytesMax: 64 * MIB, hold: () => undefined, ...given }, (one) => {
      told.push(one);
      resolve();
    });
  });
  // What is still on its way in zlib's thread would be told now.
  await new Promise((resolve) => setTimeout(resolve, 20));
  return told;
}

test("what a body expands to is held piece by piece, all of it", async () => {
  const text = Buffer.from("0123456789".repeat(100_000));
  for (const [coding, body] of [
    ["gzip", gzipSync(text)],
    ["deflate", deflateSync(text)],
  ] as const) {
    const held: number[] = [];
    const hold = (bytes: number): undefined => void held.push(bytes);
    const told = await expanded(body, { coding, hold });
    expect(told).toHaveLength(1);
    expect(text.equals(told[0] as Buffer)).toBe(true);
    expect(held.reduce((sum, bytes) => sum + bytes)).toBe(text.byteLength);
    expect(held.length).toBeGreaterThan(10);
  }
});

test("where there is no room the rest is not expanded", async () => {
  const bomb = gzipSync(Buffer.alloc(64 * MIB));
  const full = new Refusal("queue_full", "no room");
  let held = 0;
  const told = await expanded(bomb, { hold: (bytes) => ((held += bytes) > MIB ? full : undefined) });
  expect(told.map((one) => (one === full ? "full" : typeof one))).toEqual(["full"]);
  expect(held).toBeLessThan(2 * MIB);
  const short = await expanded(bomb, { bytesMax: 3 * MIB });
  expect(short).toMatchObject([{ code: "body_too_large" }]);
});

test("zeros behind a gzip body are none of it", async () => {
  expect(await expanded(Buffer.concat([gzipSync("text"), Buffer.alloc(100)]))).toEqual([Buffer.from("text")]);
});
