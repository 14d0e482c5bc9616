import type { BatchReason, HoldEnd, ShedReason } from "@millrace/scheduling";
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { DisplacementReason, RefusalReason } from "../dispatch/admission.ts";
import { DECISIONS_MAX, DecisionLog, type Sent } from "./decision-log.ts";
import { DECISION_NUMBERS, DECISION_WORDS, type ShownDecision } from "./decision-table.ts";

function sent(batch: number, nowMs: number): Sent {
  const numbers = { slot: 1, requests: 2, rows: 3, waitingRows: 4, sustainableRows: 5.5, slackMs: 6, predictedMs: 20 };
  return { nowMs, batch, why: "paced", bucket: "", bound: "waiting", worker: "w", startMs: nowMs + 2, ...numbers };
}

const held = { why: "pace", bucket: "3", waitingRows: 2, sustainableRows: 8, slackMs: 12 };

test("a batch is told with what it was decided by, and how it ended once it has", () => {
  const log = new DecisionLog();
  const entry = log.sent(sent(7, 1_000));
  const known = {
    decision: "sent",
    why: "paced",
    bound: "waiting",
    worker: "w",
    ago_ms: 10,
    count: 1,
    slot: 1,
    batch: 7,
    requests: 2,
    rows: 3,
    waiting_rows: 4,
    sustainable_rows: 5.5,
    slack_ms: 6,
    start_ms: 2,
    predicted_ms: 20,
  };
  expect(log.latest(9, 1_010)).toEqual([known]);
  log.ended(entry, "answered", { computeMs: 24, roundTripMs: 27 });
  expect(log.latest(9, 1_010)).toEqual([{ ...known, ended: "answered", compute_ms: 24, late_ms: 5 }]);
  log.ended(log.sent({ ...sent(8, 1_000), predictedMs: Infinity, slackMs: NaN }), "lost");
  const [lost] = log.latest(1, 1_010);
  expect(lost).toMatchObject({ batch: 8, ended: "lost" });
  for (const key of ["predicted_ms", "slack_ms", "compute_ms", "late_ms"]) expect(lost).not.toHaveProperty(key);
});

test("equal decisions between two batches are one entry: the first, the latest, how many, and the worst of them", () => {
  const log = new DecisionLog();
  for (const [nowMs, slackMs] of [
    [10, -1],
    [11, -5],
    [12, NaN],
    [13, -2],
  ] as const) {
    log.held({ ...held, nowMs, untilMs: 20 });
    log.slackWas(log.turnedAway("refused", "shed", nowMs), slackMs);
    log.turnedAway("refused", "queue_full", nowMs);
    log.turnedAway("shed", "shed", nowMs);
  }
  const times = { ago_ms: 7, first_ago_ms: 10, count: 4 };
  const entries = [
    { decision: "shed", why: "shed", ...times },
    { decision: "refused", why: "queue_full", ...times },
    { decision: "refused", why: "shed", slack_ms: -5, ...times },
    { decision: "held", why: "pace", bucket: "3", hold_ms: 7, ...times },
  ];
  expect(log.latest(9, 20)).toMatchObject(entries);
  log.sent(sent(1, 20));
  log.turnedAway("refused", "queue_full", 21);
  expect(log.latest(3, 21)).toMatchObject([
    { why: "queue_full", count: 1 },
    { batch: 1 },
    { decision: "shed", count: 4 },
  ]);
});

test("the last 1,024 are kept, whatever comes: the newest first, and what is overwritten is not told of any more", () => {
  const step = fc.oneof(
    fc.constant("sent" as const),
    fc.constant("end" as const),
    fc.constantFrom("shed" as const, "refused" as const, "expired" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 2_100 }), (steps, before) => {
      const log = new DecisionLog();
      const model: { what: string; batch?: number; ended?: string; count: number }[] = [];
      const entries: number[] = [];
      const send = (): void => {
        entries.push(log.sent(sent(entries.length, 0)));
        model.push({ what: "sent", batch: entries.length - 1, count: 1 });
      };
      for (let i = 0; i < before; i++) send();
      for (const what of steps) {
        if (what === "sent") send();
        else if (what === "end") {
          for (const batch of [0, entries.length - 1]) {
            if (entries[batch] === undefined) continue;
            log.ended(entries[batch], "answered", { computeMs: 1, roundTripMs: 1 });
            model.find((one) => one.batch === batch)!.ended = "answered";
          }
        } else {
          log.turnedAway(what, "x", 0);
          const since = model.slice(model.findLastIndex((one) => one.what === "sent") + 1);
          const same = since.find((one) => one.what === what);
          if (same === undefined) model.push({ what, count: 1 });
          else same.count++;
        }
      }
      const shown = log
        .latest(5_000, 0)
        .map(({ decision: what, batch, ended, count }) => ({ what, batch, ended, count }));
      const expected = model.slice(-DECISIONS_MAX).toReversed();
      expect(shown).toEqual(expected.map((one) => ({ batch: undefined, ended: undefined, ...one })));
      expect(log.latest(3, 0)).toHaveLength(Math.min(3, model.length));
    }),
    { numRuns: 300 },
  );
});

/** Every word of `why`: the compiler asks for those that are new. */
const REASONS: Readonly<
  Record<
    | BatchReason
    | HoldEnd
    | ShedReason
    | RefusalReason
    | DisplacementReason
    | "spare"
    | "suspect"
    | "hedge"
    | "codel"
    | "in_queue",
    true
  >
> = {
  full: true,
  paced: true,
  deadline: true,
  idle: true,
  spare: true,
  suspect: true,
  hedge: true,
  pace: true,
  last_safe: true,
  max_hold: true,
  hopeless: true,
  small_batch: true,
  less_urgent: true,
  over_share: true,
  unknown_route: true,
  draining: true,
  no_worker: true,
  too_many_rows: true,
  rows_full: true,
  bytes_full: true,
  late: true,
  would_delay: true,
  codel: true,
  in_queue: true,
};

test("docs/operations.md explains every value and every reason that the log can tell, and nothing else", () => {
  const page = readFileSync(new URL("../../../../docs/operations.md", import.meta.url), "utf8");
  const part = page.slice(page.indexOf("## Why did it do that?"));
  const rows = [...part.matchAll(/^\| `([a-z_]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$/gm)];
  const explained = rows.map(([, name, unit, of, doc]) => ({ name, unit, of: of!.split(", "), doc }));
  const table = [...Object.entries(DECISION_WORDS), ...Object.entries(DECISION_NUMBERS)];
  expect(explained).toEqual(table.map(([name, { unit, of, doc }]) => ({ name, unit, of: [...of], doc })));
  const reasons = [...part.matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \| (?:sent|held|shed|refused|expired) \|/gm)];
  expect(reasons.flatMap(([, words]) => words!.replaceAll("`", "").split(", ")).sort()).toEqual(
    Object.keys(REASONS).sort(),
  );
});

test("the values of an entry are those of the table", () => {
  const log = new DecisionLog();
  log.ended(log.sent({ ...sent(1, 0), bucket: "3" }), "answered", { computeMs: 1, roundTripMs: 2 });
  log.held({ ...held, nowMs: 1, untilMs: 2 });
  const keysOf = (one: ShownDecision): string[] => Object.keys(one).sort();
  const tableOf = (decision: "sent" | "held"): string[] =>
    Object.entries({ ...DECISION_WORDS, ...DECISION_NUMBERS })
      .filter(([, { of }]) => of.includes(decision))
      .map(([name]) => name)
      .sort();
  expect(log.latest(2, 2).map(keysOf)).toEqual([tableOf("held"), tableOf("sent")]);
});
