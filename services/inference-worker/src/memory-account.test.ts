import { expect, test } from "vitest";
import { MemoryAccount } from "./memory-account.ts";

test("what fits to the last byte is taken; what is beyond is refused with what is there; 0 is no limit", () => {
  const account = new MemoryAccount(100);
  expect(account.refusalOf(100)).toBe("");
  account.bytes += 60;
  expect(account.refusalOf(40)).toBe("");
  expect(account.refusalOf(41)).toBe(
    "its copies, one a slot, take 41 bytes at least; other models have 60 of the 100 that --model-bytes-max allows",
  );
  expect(new MemoryAccount(0).refusalOf(Number.MAX_SAFE_INTEGER)).toBe("");
});
