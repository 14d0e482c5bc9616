import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { ChildSpec } from "./child-process.ts";
import { Fleet } from "./fleet.ts";

/** Reports the port it was given, or 7 on its first start; ends as its order from the environment says. */
const CHILD = `
const port = process.env.PORT ?? "7";
console.log("up on " + port);
process.stderr.write("no line end");
process.on("SIGTERM", () => { if (process.env.STUBBORN !== "1") process.exit(0); });
process.on("disconnect", () => process.exit(0));
setInterval(() => {}, 1000);
process.send({ type: "other" });
process.send({ type: "ready", addresses: { gateways: "g:" + port, workers: "w:" + port } });
`;
const BROKEN = "process.exit(1)";

let folder = "";
let fleet: Fleet | undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  writeFileSync(join(folder, "child.mjs"), CHILD);
  writeFileSync(join(folder, "broken.mjs"), BROKEN);
});
afterEach(() => fleet?.kill());
afterAll(() => rmSync(folder, { recursive: true }));

function spec(name: string, given: { program?: string; environment?: Record<string, string> } = {}): ChildSpec {
  return {
    name,
    program: join(folder, given.program ?? "child.mjs"),
    environment: given.environment ?? {},
    pin: (addresses) => ({ PORT: (addresses["gateways"] ?? "").slice(2) }),
  };
}

/** What a fleet said, as `name: text`, with a way to await a text. */
class Journal {
  readonly entries: string[] = [];
  readonly #waiting = new Set<() => void>();

  add(name: string, text: string): void {
    this.entries.push(`${name}: ${text}`);
    for (const check of this.#waiting) check();
  }

  /** Resolves when `count` entries contain the text. */
  seen(text: string, count = 1): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.entries.filter((entry) => entry.includes(text)).length < count) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }
}

function makeFleet(specs: { broker?: ChildSpec; workers?: ChildSpec[]; gateways?: ChildSpec[] }): [Fleet, Journal] {
  const journal = new Journal();
  const plan = {
    broker: () => specs.broker ?? spec("broker-1"),
    workers: () => specs.workers ?? [],
    gateways: () => specs.gateways ?? [],
  };
  fleet = new Fleet(plan, {
    line: (name, line) => journal.add(name, line),
    log: (_level, name, message) => journal.add(name, message),
    gaveUp: (name, reason) => journal.add(name, `GAVE UP ${reason}`),
  });
  return [fleet, journal];
}

const NEVER = new AbortController().signal;

function isAlive(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? 0, 0);
    return true;
  } catch {
    return false;
  }
}

test("starts the broker first, and drains gateways, workers, broker in this order", async () => {
  const [started, journal] = makeFleet({
    workers: [spec("worker-1"), spec("worker-2")],
    gateways: [spec("gateway-1")],
  });
  await started.start(NEVER, () => {});
  expect(started.children.map((child) => child.kind)).toEqual(["ready", "ready", "ready", "ready"]);
  expect(journal.entries.indexOf("broker-1: up on 7")).toBe(0);
  const pids = started.children.map((child) => child.pid);
  expect(await started.drain(10_000)).toEqual([]);
  expect(pids.map(isAlive)).toEqual([false, false, false, false]);
  const ends = journal.entries
    .filter((entry) => entry.includes("exit code 0"))
    .map((entry) => entry.slice(0, entry.indexOf(":")));
  expect([ends[0], new Set(ends.slice(1, 3)), ends[3]]).toEqual([
    "gateway-1",
    new Set(["worker-1", "worker-2"]),
    "broker-1",
  ]);
  expect(journal.entries).toContain("gateway-1: no line end");
});

test("restarts a child that is killed, with the port that it had", async () => {
  const [started, journal] = makeFleet({});
  await started.start(NEVER, () => {});
  const [broker] = started.children;
  const firstPid = broker?.pid ?? 0;
  process.kill(firstPid, "SIGKILL");
  await journal.seen("is back");
  expect(broker?.pid).not.toBe(firstPid);
  expect(journal.entries.filter((entry) => entry.includes("up on 7"))).toHaveLength(2);
  expect(journal.entries.some((entry) => /was ended by SIGKILL after .* starting it again in 100 ms/.test(entry))).toBe(
    true,
  );
  expect(await started.drain(10_000)).toEqual([]);
});

test("gives up a child that never gets ready, and the start can be aborted", async () => {
  const [started, journal] = makeFleet({ workers: [spec("worker-1", { program: "broken.mjs" })] });
  const abort = new AbortController();
  const start = started.start(abort.signal, () => {});
  await journal.seen("GAVE UP");
  expect(journal.entries.at(-1)).toMatch(/^worker-1: GAVE UP ended with exit code 1 .* \(3 times in a row\)/);
  abort.abort(new Error("enough"));
  await expect(start).rejects.toThrow("enough");
  expect(await started.drain(10_000)).toEqual([]);
});

test("a program that does not exist is given up like one that breaks", async () => {
  const [started, journal] = makeFleet({ broker: spec("broker-1", { program: "nowhere.mjs" }) });
  const abort = new AbortController();
  const start = started.start(abort.signal, () => {});
  await journal.seen("GAVE UP");
  abort.abort(new Error("enough"));
  await expect(start).rejects.toThrow("enough");
});

test("kills what does not drain in time, and says which", async () => {
  const [started] = makeFleet({ gateways: [spec("gateway-1", { environment: { STUBBORN: "1" } })] });
  await started.start(NEVER, () => {});
  const pids = started.children.map((child) => child.pid);
  expect(await started.drain(20)).toContain("gateway-1");
  expect(pids.map(isAlive)).toEqual([false, false]);
});

test("kill ends everything at once", async () => {
  const [started] = makeFleet({ workers: [spec("worker-1", { environment: { STUBBORN: "1" } })] });
  await started.start(NEVER, () => {});
  const pids = started.children.map((child) => child.pid);
  started.kill();
  await Promise.all(started.children.map((child) => child.ended));
  expect(pids.map(isAlive)).toEqual([false, false]);
});
