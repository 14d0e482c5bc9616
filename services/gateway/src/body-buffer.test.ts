import fc from "fast-check";
import { expect, test } from "vitest";
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
});
