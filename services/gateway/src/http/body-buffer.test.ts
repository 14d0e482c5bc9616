import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { BodyBuffer } from "./body-buffer.ts";

test("pieces come back as one, whatever is known of their sum", () => {
  const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 50_000 }), { maxLength: 12 });
  fc.assert(
    fc.property(pieces, fc.boolean(), (given, isKnown) => {
      const whole = Buffer.concat(given);
      const body = new BodyBuffer();
      for (const piece of given) body.append(Buffer.from(piece), isKnown ? whole.byteLength : Infinity);
      expect(body.bytes).toBe(whole.byteLength);
      expect(body.take().equals(whole)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

const PIECE_BYTES = 64 * 1024;

test("of an announced length, all pieces are copied once: what is allocated is hardly more than the body", () => {
  const allocate = vi.spyOn(Buffer, "allocUnsafeSlow");
  onTestFinished(() => allocate.mockRestore());
  for (const pieces of [2, 10, 64, 256]) {
    allocate.mockClear();
    const body = new BodyBuffer();
    const given = Array.from({ length: pieces }, (_, i) => Buffer.alloc(PIECE_BYTES, i));
    for (const piece of given) body.append(piece, pieces * PIECE_BYTES);
    const whole = body.take();
    for (let i = 0; i < pieces; i++) expect(whole[i * PIECE_BYTES]).toBe(i % 256);
    // Their memory is free already.
    expect(given.every(({ byteLength }) => byteLength === 0)).toBe(true);
    expect(whole.buffer.byteLength).toBe(whole.byteLength);
    const allocated = allocate.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0);
    expect(allocated).toBeLessThanOrEqual(1.1 * whole.byteLength);
  }
});

test("who announces much and sends little takes up little", () => {
  const allocate = vi.spyOn(Buffer, "allocUnsafeSlow");
  onTestFinished(() => allocate.mockRestore());
  const body = new BodyBuffer();
  for (let i = 0; i < 1000; i++) body.append(Buffer.from("x"), 64 * 1024 * 1024);
  expect(allocate.mock.calls).toEqual([[64 * 1024]]);
});

test("a single piece is not copied, and pieces are never written to", () => {
  const piece = Buffer.from("one");
  const single = new BodyBuffer();
  single.append(piece, 3);
  expect(single.take()).toBe(piece);

  const memory = Buffer.from("onetwo");
  const body = new BodyBuffer();
  body.append(memory.subarray(0, 1), Infinity);
  body.append(Buffer.from("X"), Infinity);
  expect([body.take().toString(), memory.toString()]).toEqual(["oX", "onetwo"]);

  // What others share is not given back.
  const shared = Buffer.alloc(PIECE_BYTES + 1, "a");
  const part = new BodyBuffer();
  part.append(shared.subarray(1), Infinity);
  part.append(Buffer.from("b"), Infinity);
  expect([part.take().byteLength, shared.byteLength]).toEqual([PIECE_BYTES + 1, PIECE_BYTES + 1]);
});
