import fc from "fast-check";
import { expect, test } from "vitest";
import { allowedMs, ArrivingBodies, type ArrivingBody, ByteBound, NO_RATE } from "./socket-bounds.ts";

const RATE = { bodyBytesPerSecondMin: 100, bodyGraceMs: 1000 };

test("a byte a second is too slow soon, whoever was fast may pause, and without a bound nobody is", () => {
  expect(allowedMs(0, RATE)).toBe(1000);
  expect(allowedMs(5, RATE)).toBe(1050);
  expect(allowedMs(1000, RATE)).toBe(11_000);
  expect(allowedMs(0, NO_RATE)).toBe(Infinity);
});

test("the bound holds, and one that is larger than the bound goes alone", () => {
  const bound = new ByteBound(100);
  expect([bound.fits(100, 0), bound.fits(1000, 0)]).toEqual([true, true]);
  bound.held = 60;
  expect([bound.fits(40, 0), bound.fits(41, 0), bound.fits(1000, 60)]).toEqual([true, false, true]);
  expect(bound.refusal()).toMatchObject({ code: "queue_full", retryAfterMs: 1000 });
});

class Body implements ArrivingBody {
  older: ArrivingBody | undefined;
  newer: ArrivingBody | undefined;
  isRefused = false;
  readonly bodies: ArrivingBodies;
  readonly receivedMs: number;
  readonly arrivedBytes: number;

  constructor(bodies: ArrivingBodies, receivedMs: number, arrivedBytes: number) {
    this.bodies = bodies;
    this.receivedMs = receivedMs;
    this.arrivedBytes = arrivedBytes;
    bodies.add(this);
  }

  refuseSlow(): void {
    expect(this.isRefused).toBe(false);
    this.isRefused = true;
    this.bodies.delete(this);
  }
}

test("of bodies that come and go in any order, exactly those that are there and too slow are refused", () => {
  const event = fc.record({ bytes: fc.nat(100), leaves: fc.nat(10), ms: fc.nat(500), ends: fc.boolean() });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const bodies = new ArrivingBodies(RATE);
      let here: Body[] = [];
      let nowMs = 0;
      for (const { bytes, leaves, ms, ends } of events) {
        nowMs += ms;
        here.push(new Body(bodies, nowMs, bytes));
        for (const body of here.splice(leaves, 1)) bodies.delete(body);
        if (!ends) continue;
        bodies.end(nowMs, Infinity);
        for (const body of here)
          expect(body.isRefused).toBe(nowMs - body.receivedMs > allowedMs(body.arrivedBytes, RATE));
        here = here.filter(({ isRefused }) => !isRefused);
      }
      bodies.end(Infinity, 1);
      expect(here.map(({ isRefused }) => isRefused)).toEqual(here.map((_, i) => i === 0));
      bodies.end(Infinity, Infinity);
      expect(here.every(({ isRefused }) => isRefused)).toBe(true);
    }),
  );
});
