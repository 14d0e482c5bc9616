import fc from "fast-check";
import { expect, test } from "vitest";
import { PREAMBLE_BYTES, readPreamble, writePreamble } from "./preamble.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

const preamble = { command: 0x21, mustUnderstand: true, count: 0x0102, epoch: "0123456789abcdef", seq: 7 };

test("a preamble is these octets", () => {
  const target = Buffer.alloc(PREAMBLE_BYTES);
  writePreamble(target, preamble);
  expect(target.toString("hex")).toBe("e51b0121010001020123456789abcdef0000000000000007");
});

test("what is written is read, up to the largest numbers", () => {
  fc.assert(
    fc.property(
      fc.record({
        command: fc.nat({ max: 255 }),
        mustUnderstand: fc.boolean(),
        count: fc.nat({ max: 65_535 }),
        epoch: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((octets) => Buffer.from(octets).toString("hex")),
        seq: fc.maxSafeNat(),
      }),
      (value) => {
        const target = Buffer.alloc(PREAMBLE_BYTES + 3, 0xff);
        writePreamble(target, value);
        expect(readPreamble(target)).toEqual(value);
      },
    ),
  );
});

test("faults name what is wrong", () => {
  const target = Buffer.alloc(PREAMBLE_BYTES);
  writePreamble(target, preamble);
  expect(readPreamble(target.subarray(0, 23))).toEqual({ fault: "short" });
  expect(readPreamble(Buffer.alloc(0))).toEqual({ fault: "short" });
  const edited = (at: number, octet: number): Buffer => {
    const copy = Buffer.from(target);
    copy[at] = octet;
    return copy;
  };
  expect(readPreamble(edited(0, 0))).toEqual({ fault: "signature" });
  expect(readPreamble(edited(1, 0))).toEqual({ fault: "signature" });
  expect(readPreamble(edited(2, 2))).toEqual({ fault: "version", major: 2 });
  expect(readPreamble(edited(17, 0x20))).toEqual({ fault: "sequence" });
  expect(readPreamble(edited(17, 0x1f))).toMatchObject({ seq: 0x1f * 2 ** 48 + 7 });
});

test("an epoch that is not 16 hex digits is a defect of the caller, and leaks no memory", () => {
  const target = Buffer.alloc(PREAMBLE_BYTES);
  for (const epoch of ["", "0123", "0123456789abcdef00", "0123456789abcdeg"]) {
    expect(() => writePreamble(target, { ...preamble, epoch })).toThrow(RangeError);
  }
});
