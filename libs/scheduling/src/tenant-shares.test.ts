import { expect, test } from "vitest";
import { type Account, ACCOUNTS_MAX, entriesToYield, TenantShares } from "./tenant-shares.ts";

type Entry = {
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  account: Account<Entry> | undefined;
  start: number;
  newer: Entry | undefined;
  older: Entry | undefined;
};

function entry(name: string, given: Partial<Entry> = {}): Entry {
  const none = { account: undefined, start: 0, newer: undefined, older: undefined };
  return { name, rows: 1, bytes: 10, deadlineMs: 0, ...none, ...given };
}

function charge(shares: TenantShares<Entry>, name: string, given: Partial<Entry> = {}): Entry {
  const one = entry(name, given);
  shares.charge(shares.find(name), one);
  return one;
}

test("an account is charged by its weight, and gets back what is given up before it has run", () => {
  const shares = new TenantShares<Entry>(new Map([["big", 2]]));
  const first = charge(shares, "big", { rows: 4 });
  charge(shares, "small");
  expect([shares.find("big").taken, shares.find("small").taken]).toEqual([2, 1]);
  expect(shares.mostServed()).toBe(shares.find("big"));
  shares.refund(first);
  shares.refund(first);
  expect(shares.find("big").taken).toBe(0);
  expect(shares.mostServed()).toBe(shares.find("small"));
});

test("time in which a tenant asks for nothing earns it nothing", () => {
  const shares = new TenantShares<Entry>(new Map());
  for (let i = 0; i < 100; i++) shares.leaves(charge(shares, "busy"));
  // It begins where the service was a few rows ago.
  const had = shares.with(shares.find("late"), 1);
  expect(had).toBeGreaterThan(80);
  expect(had).toBeLessThan(100);
  // Who waits keeps what it is behind.
  charge(shares, "late");
  for (let i = 0; i < 50; i++) shares.leaves(charge(shares, "busy"));
  expect(shares.with(shares.find("late"), 1)).toBeCloseTo(had + 1);
});

test("whoever comes back begins at the mean of those who are served, not with the one that is ahead", () => {
  const shares = new TenantShares<Entry>(new Map());
  for (let i = 0; i < 100; i++) {
    for (let j = 0; j < 3; j++) shares.leaves(charge(shares, "ahead"));
    shares.leaves(charge(shares, "behind"));
  }
  const ahead = shares.with(shares.find("ahead"), 0);
  expect(ahead).toBe(300);
  expect(shares.with(shares.find("behind"), 0)).toBeLessThan(290);
});

test("the latest entries give way, those that are due in time, and no more than the account is over", () => {
  const shares = new TenantShares<Entry>(new Map());
  const entries = [1, 2, 3, 4].map((deadlineMs) => charge(shares, "a", { deadlineMs, rows: 2 }));
  const account = shares.find("a");
  const wanted = { rows: 3, bytes: 0, untilMs: Infinity, keep: 0 };
  expect(entriesToYield(account, wanted)).toEqual([entries[3], entries[2]]);
  expect(entriesToYield(account, { ...wanted, untilMs: 2 })).toEqual([entries[1], entries[0]]);
  expect(entriesToYield(account, { ...wanted, bytes: 30 })).toHaveLength(3);
  expect(entriesToYield(account, { ...wanted, keep: 4 })).toHaveLength(2);
  expect(entriesToYield(account, { ...wanted, keep: 5 })).toBeUndefined();
  expect(entriesToYield(account, { ...wanted, rows: 9 })).toBeUndefined();
  shares.leaves(entries[2]!);
  expect(entriesToYield(account, wanted)).toEqual([entries[3], entries[1]]);
});

test("names without end are bounded: those that owe nothing are forgotten, and what is beyond shares one account", () => {
  const shares = new TenantShares<Entry>(new Map());
  for (let i = 0; i < 3 * ACCOUNTS_MAX; i++) shares.leaves(charge(shares, `passing ${i}`));
  for (let i = 0; i < ACCOUNTS_MAX; i++) charge(shares, `waiting ${i}`);
  const before = shares.waiting().length;
  expect(before).toBeLessThanOrEqual(ACCOUNTS_MAX);
  charge(shares, "one more");
  expect(shares.find("one more")).toBe(shares.find(""));
  expect(shares.waiting().length).toBeLessThanOrEqual(ACCOUNTS_MAX);
});

test("for a new name the oldest that is behind the service is forgotten, and nobody who is ahead of it", () => {
  const shares = new TenantShares<Entry>(new Map());
  shares.leaves(charge(shares, "greedy", { rows: 1e6 }));
  for (let i = 0; i < 2 * ACCOUNTS_MAX; i++) {
    shares.leaves(charge(shares, "busy"));
    shares.leaves(charge(shares, `passing ${i}`));
  }
  expect(shares.find("one more")).not.toBe(shares.find(""));
  expect(shares.find("greedy").taken).toBe(1e6);
});
