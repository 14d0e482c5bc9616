import fc from "fast-check";
import { expect, test } from "vitest";
import { LIMITS } from "./limits.ts";
import { PayloadPacker, PayloadReader } from "./payload.ts";
import { arbitraryPayload } from "./testing.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

const { packBelowBytes, sharedFrameBytes } = LIMITS;

function pack(payloads: readonly Uint8Array[]) {
  const packer = new PayloadPacker();
  const refs = payloads.map((payload) => packer.add(payload));
  return {
    refs,
    frames: packer.finish().map((frame) => Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)),
  };
}

test("small payloads share a frame at multiples of eight, with zeros between", () => {
  const { refs, frames } = pack([Buffer.from("abc"), Buffer.from("defghijk"), Buffer.from("l")]);
  expect(refs).toEqual([
    { frame: 0, offset: 0, length: 3 },
    { frame: 0, offset: 8, length: 8 },
    { frame: 0, offset: 16, length: 1 },
  ]);
  expect(frames).toEqual([Buffer.from("abc\0\0\0\0\0defghijkl")]);
});

test("an empty payload needs no frame", () => {
  expect(pack([Buffer.alloc(0), Buffer.alloc(0)])).toEqual({
    refs: [
      { frame: 0, offset: 0, length: 0 },
      { frame: 0, offset: 0, length: 0 },
    ],
    frames: [],
  });
});

test("a payload of the threshold travels alone, by reference; the shared frame stays open around it", () => {
  const large = Buffer.alloc(packBelowBytes, 1);
  const packer = new PayloadPacker();
  const refs = [Buffer.from("a"), large, Buffer.from("b"), Buffer.alloc(packBelowBytes - 1)].map((one) =>
    packer.add(one),
  );
  const frames = packer.finish();
  expect(refs.map((ref) => [ref.frame, ref.offset])).toEqual([
    [0, 0],
    [1, 0],
    [0, 8],
    [0, 16],
  ]);
  expect(frames[1]).toBe(large);
});

test("a small payload that is alone in its frame goes by reference too", () => {
  const only = Buffer.from("only");
  const packer = new PayloadPacker();
  packer.add(only);
  expect(packer.finish()[0]).toBe(only);
});

test("a shared frame takes what fits to the last byte, then the next one opens", () => {
  const sixteenth = Buffer.alloc(packBelowBytes - 8, 1);
  const count = Math.floor(sharedFrameBytes / sixteenth.length);
  const rest = sharedFrameBytes - count * sixteenth.length;
  const fill = Array.from({ length: count }, () => sixteenth);
  const fits = pack([...fill, Buffer.alloc(rest, 2)]);
  expect(fits.frames.map((frame) => frame.length)).toEqual([sharedFrameBytes]);
  const over = pack([...fill, Buffer.alloc(rest + 1, 2), Buffer.from("z")]);
  expect(over.frames.length).toBe(2);
  expect(over.refs.at(-1)).toEqual({ frame: 1, offset: (rest + 8) & -8, length: 1 });
});

test("any payloads come back, aligned, in as many frames as there are payloads at most", () => {
  fc.assert(
    fc.property(fc.array(arbitraryPayload, { maxLength: 40 }), (payloads) => {
      const { refs, frames } = pack(payloads);
      const reader = new PayloadReader(frames);
      expect(frames.length).toBeLessThanOrEqual(payloads.length);
      for (const [i, ref] of refs.entries()) {
        expect(ref.offset % 8).toBe(0);
        expect(reader.take(ref)?.equals(payloads[i]!)).toBe(true);
      }
      const alone = payloads.filter((payload) => payload.length >= packBelowBytes);
      for (const frame of frames)
        expect(frame.length <= sharedFrameBytes || alone.some((one) => one.equals(frame))).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test("references outside the frames give nothing", () => {
  const frames = [Buffer.alloc(8), Buffer.alloc(0)];
  const huge = Number.MAX_SAFE_INTEGER;
  for (const [frame, offset, length] of [
    [0, 0, 9],
    [0, 8, 1],
    [0, huge, 1],
    [0, 1, huge],
    [0, huge, huge],
    [1, 0, 1],
    [2, 0, 1],
    [huge, 0, 1],
  ] as const) {
    expect(new PayloadReader(frames).take({ frame, offset, length })).toBeUndefined();
  }
  expect(new PayloadReader(frames).take({ frame: huge, offset: huge, length: 0 })).toEqual(Buffer.alloc(0));
});

test("references may not name more bytes than the frames hold: forwarding would make them", () => {
  const reader = new PayloadReader([Buffer.alloc(8), Buffer.alloc(4)]);
  expect(reader.take({ frame: 0, offset: 0, length: 8 })?.length).toBe(8);
  expect(reader.take({ frame: 0, offset: 0, length: 8 })).toBeUndefined();
  expect(reader.take({ frame: 1, offset: 0, length: 4 })?.length).toBe(4);
  expect(reader.take({ frame: 1, offset: 0, length: 1 })).toBeUndefined();
});
