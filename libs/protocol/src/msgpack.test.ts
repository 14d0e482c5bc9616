import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { expect, test } from "vitest";
import { MsgpackReader, MsgpackWriter } from "./msgpack.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

// A codec that nobody here wrote, as the judge of every byte.
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

function written(write: (writer: MsgpackWriter) => void): Buffer {
  const writer = new MsgpackWriter(0, 0);
  write(writer);
  return writer.finish();
}

function reader(hex: string): MsgpackReader {
  return new MsgpackReader(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

const UINT32_EDGES = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1];

test("integers are written in their shortest form, as msgpackr writes them", () => {
  for (const value of UINT32_EDGES) expect(written((w) => w.uint(value))).toEqual(packr.pack(value));
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 - 1 }), (value) => written((w) => w.uint(value)).equals(packr.pack(value))),
  );
  expect(written((w) => w.minusOne())).toEqual(packr.pack(-1));
});

test("integers from 2^32 to 2^53 − 1 are uint64, and msgpackr reads them", () => {
  expect(written((w) => w.uint(2 ** 32)).toString("hex")).toBe("cf0000000100000000");
  expect(written((w) => w.uint(Number.MAX_SAFE_INTEGER)).toString("hex")).toBe("cf001fffffffffffff");
  fc.assert(
    fc.property(fc.integer({ min: 2 ** 32, max: Number.MAX_SAFE_INTEGER }), (value) => {
      const bytes = written((w) => w.uint(value));
      return bytes.length === 9 && unpackr.unpack(bytes) === value && new MsgpackReader(bytes).uint() === value;
    }),
  );
});

test("a quantity that went wrong is rounded down and kept in range, and never throws", () => {
  const cases: readonly (readonly [number, number])[] = [
    [-1, 0],
    [-0.5, 0],
    [-Infinity, 0],
    [NaN, 0],
    [0.9, 0],
    [127.9, 127],
    [255.9, 255],
    [65_535.9, 65_535],
    [2 ** 32 - 0.5, 2 ** 32 - 1],
    [2 ** 32 + 0.5, 2 ** 32],
    [2 ** 53, Number.MAX_SAFE_INTEGER],
    [Number.MAX_VALUE, Number.MAX_SAFE_INTEGER],
    [Infinity, Number.MAX_SAFE_INTEGER],
  ];
  for (const [value, kept] of cases) {
    expect([value, new MsgpackReader(written((w) => w.uint(value))).uint()]).toEqual([value, kept]);
  }
});

test("strings, binary and array heads are written in their shortest form, as msgpackr writes them", () => {
  for (const length of [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
    const text = "n".repeat(length);
    expect(written((w) => w.str(text)).equals(packr.pack(text))).toBe(true);
    const bytes = Buffer.alloc(length, 7);
    expect(written((w) => w.bin(bytes)).equals(packr.pack(bytes))).toBe(true);
    const array = Array.from({ length }, () => 1);
    const ours = written((w) => {
      w.array(length);
      for (const one of array) w.uint(one);
    });
    expect(ours.equals(packr.pack(array))).toBe(true);
  }
});

test("any Unicode text comes back, and half a surrogate pair is written as U+FFFD", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      const bytes = written((w) => w.str(text));
      return bytes.equals(packr.pack(text)) && new MsgpackReader(bytes).str(4096) === text;
    }),
  );
  for (const text of ["\ufeffbom", "\ufffd", "\u0000"]) {
    expect(new MsgpackReader(written((w) => w.str(text))).str(64)).toBe(text);
  }
  expect(new MsgpackReader(written((w) => w.str("a\ud800b"))).str(64)).toBe("a\ufffdb");
});

test("every integer format is read, if its value is in range", () => {
  for (const five of ["05", "cc05", "cd0005", "ce00000005", "cf0000000000000005"]) {
    expect(reader(five).uint()).toBe(5);
    expect(reader(five).dimension()).toBe(5);
  }
  for (const five of ["d005", "d10005", "d200000005", "d30000000000000005"]) expect(reader(five).uint()).toBe(5);
  for (const minusOne of ["ff", "d0ff", "d1ffff", "d2ffffffff", "d3ffffffffffffffff"]) {
    expect(reader(minusOne).dimension()).toBe(-1);
    const strict = reader(minusOne);
    expect(strict.uint()).toBe(0);
    expect(strict.fault).not.toBe("");
  }
  for (const outside of [
    "fe",
    "d0fe",
    "d3fffffffffffffffe",
    "cf0020000000000000",
    "d38000000000000000",
    "d3ffdfffffffffffff",
  ]) {
    const strict = reader(outside);
    expect(strict.dimension()).toBe(0);
    expect(strict.fault).not.toBe("");
  }
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) }), (value) => {
      // msgpackr writes a bigint as int64.
      return new MsgpackReader(packr.pack(value)).uint() === Number(value);
    }),
  );
});

test("octets that are not UTF-8 are a fault, in short strings and long ones", () => {
  for (const hex of ["a1ff", "a2c328", "a3eda080", "a2c080", `b9${"61".repeat(24)}80`, `d920${"61".repeat(31)}c3`]) {
    const strict = reader(hex);
    expect(strict.str(64)).toBe("");
    expect(strict.fault).toBe("a string is not UTF-8");
  }
  // U+FFFD itself is a character like any other.
  expect(reader("a3efbfbd").str(64)).toBe("\ufffd");
});

test("a length is compared with its limit and with what is left before anything is made of it", () => {
  const cases: readonly (readonly [string, (r: MsgpackReader) => unknown, string])[] = [
    ["dbffffffff78", (r) => r.str(2 ** 32), "the message ends early"],
    ["dbffffffff78", (r) => r.str(1024), "a string is too long"],
    ["c6ffffffff78", (r) => r.bin(2 ** 32), "the message ends early"],
    ["c6ffffffff78", (r) => r.bin(64), "binary is too long"],
    ["ddffffffff01", (r) => r.array(0, 2 ** 32), "the message ends early"],
    ["ddffffffff01", (r) => r.array(0, 1024), "an array has too few or too many elements"],
    ["9101", (r) => r.array(2, 4), "an array has too few or too many elements"],
  ];
  for (const [hex, read, fault] of cases) {
    const strict = reader(hex);
    read(strict);
    expect(strict.fault).toBe(fault);
  }
});

test("after a fault everything is empty, and the first fault stays", () => {
  const strict = reader("c0 05 a161 c40162 91");
  strict.uint();
  const { fault } = strict;
  expect([strict.uint(), strict.dimension(), strict.str(9), strict.bin(9).length, strict.array(0, 9)]).toEqual([
    0,
    0,
    "",
    0,
    0,
  ]);
  strict.skip();
  expect(strict.fault).toBe(fault);
});

test("skip passes over exactly one value, whatever msgpackr writes but maps and extension types", () => {
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.string(),
      fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets)),
      fc.array(tie("value"), { maxLength: 20 }),
    ),
  })).value;
  fc.assert(
    fc.property(value, (one) => {
      const strict = new MsgpackReader(Buffer.concat([packr.pack(one), Buffer.from([0x2a])]));
      strict.skip();
      return strict.uint() === 0x2a && strict.atEnd && strict.fault === "";
    }),
  );
  for (const hex of ["80", "8101a0", "c1", "c7010578", "d40178", "de0000", "91 80"]) {
    const strict = reader(hex);
    strict.skip();
    expect(strict.fault).toBe("a value of a kind that cannot be passed over");
  }
});

test("skip needs no stack, however deep arrays are, and ends where the message ends", () => {
  const deep = new MsgpackReader(Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.from([0x90])]));
  deep.skip();
  expect([deep.fault, deep.atEnd]).toEqual(["", true]);
  const greedy = new MsgpackReader(Buffer.alloc(1_000_000, 0x92));
  greedy.skip();
  expect(greedy.fault).toBe("the message ends early");
});

test("random bytes never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(fc.nat({ max: 5 }), { maxLength: 20 }), (octets, calls) => {
      const strict = new MsgpackReader(Buffer.from(octets));
      for (const call of calls) {
        if (call === 0) strict.uint();
        else if (call === 1) strict.dimension();
        else if (call === 2) strict.str(1024);
        else if (call === 3) strict.bin(1024);
        else if (call === 4) strict.array(0, 1024);
        else strict.skip();
      }
    }),
    { numRuns: 2_000 },
  );
});
