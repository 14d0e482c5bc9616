import fc from "fast-check";
import { COMMANDS, type Command } from "../command.ts";
import { DATATYPES, type Datatype } from "../datatype.ts";
import type { Field, ListField, StructField } from "../fields.ts";
import { LIMITS } from "../limits.ts";
import { type Content, MESSAGES, type Message, TENSORS, type TensorList } from "../message.ts";

/** How large the values are that are made up: enough to meet every branch of the codec, small enough to make many. */
export type ArbitrarySizes = { readonly listMax: number };

const SMALL: ArbitrarySizes = { listMax: 5 };

/** Where the msgpack encoding of an integer changes its form. */
const UINT_EDGES = [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];

const arbitraryUint = fc.oneof(fc.nat({ max: 300 }), fc.constantFrom(...UINT_EDGES), fc.maxSafeNat());

const payloadBytes = fc.oneof(
  { weight: 10, arbitrary: fc.nat({ max: 64 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(LIMITS.packBelowBytes - 1, LIMITS.packBelowBytes, LIMITS.packBelowBytes + 1),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(LIMITS.sharedFrameBytes - 1, LIMITS.sharedFrameBytes, LIMITS.sharedFrameBytes + 1),
  },
);

/** Payloads of no bytes, of a few, and of the sizes around which the packing changes; each is filled with one octet. */
export const arbitraryPayload: fc.Arbitrary<Buffer> = fc
  .tuple(payloadBytes, fc.nat({ max: 255 }))
  .map(([bytes, octet]) => Buffer.alloc(bytes, octet));

function arbitraryString(maxBytes: number): fc.Arbitrary<string> {
  const edges = [31, 32, 255, 256, maxBytes].map((length) => "n".repeat(Math.min(length, maxBytes)));
  // 48 code points are 192 octets at most.
  return fc.oneof(fc.string({ unit: "binary", maxLength: 48 }), fc.constantFrom("", "é".repeat(20), ...edges));
}

function arbitraryBin(maxBytes: number): fc.Arbitrary<Buffer> {
  const some = fc.uint8Array({ maxLength: Math.min(maxBytes, 40) }).map((octets) => Buffer.from(octets));
  const edges = [255, 256, maxBytes].map((length) => Buffer.alloc(Math.min(length, maxBytes), 0xb1));
  return fc.oneof({ weight: 8, arbitrary: some }, { weight: 1, arbitrary: fc.constantFrom(...edges) });
}

function arbitraryScalar(wire: string): fc.Arbitrary<unknown> {
  switch (wire) {
    case "uint":
      return arbitraryUint;
    case "flag":
      return fc.boolean();
    case "dim":
      return fc.oneof(fc.constant(-1), arbitraryUint);
    case "name":
      return arbitraryString(LIMITS.nameBytes);
    case "text":
      return arbitraryString(LIMITS.textBytes);
    case "datatype":
      return fc.constantFrom(...(Object.keys(DATATYPES) as Datatype[]));
    case "payload":
      return arbitraryPayload;
  }
  const bin = /^bin\((\d+)\)$/.exec(wire);
  if (bin !== null) return arbitraryBin(Number(bin[1]));
  const words = [...wire.matchAll(/\d+ (\w+)/g)].map(([, word]) => word!);
  if (words.length === 0) throw new Error(`no arbitrary for a field of type ${wire}`);
  return fc.constantFrom(...words);
}

/** Values of a field of the tables in message.ts, whatever it is; fast-check shrinks them. */
export function arbitraryOfField(field: Field<unknown>, sizes: ArbitrarySizes = SMALL): fc.Arbitrary<unknown> {
  if ("fields" in field) {
    const { fields } = field as StructField<unknown>;
    const columns = Object.entries(fields).map(([key, column]) => [key, arbitraryOfField(column, sizes)] as const);
    return fc.record(Object.fromEntries(columns), { noNullPrototype: true });
  }
  if ("element" in field) {
    const { element, max } = field as ListField<unknown>;
    const size = sizes.listMax > SMALL.listMax ? "max" : "small";
    return fc.array(arbitraryOfField(element), { maxLength: Math.min(max, sizes.listMax), size });
  }
  return arbitraryScalar(field.wire);
}

/** Contents of one command, all within the limits. */
export function arbitraryContent<C extends Command>(command: C, sizes?: ArbitrarySizes): fc.Arbitrary<Content<C>> {
  return arbitraryOfField(MESSAGES[command], sizes) as fc.Arbitrary<Content<C>>;
}

/** Messages of one command, all within the limits. */
export function arbitraryMessageOf(command: Command, sizes?: ArbitrarySizes): fc.Arbitrary<Message> {
  return arbitraryContent(command, sizes).map((content) => ({ command, ...content }) as Message);
}

/** Messages of any command, all within the limits. */
export const arbitraryMessage: fc.Arbitrary<Message> = fc.oneof(
  ...(Object.keys(COMMANDS) as Command[]).map((command) => arbitraryMessageOf(command)),
);

export const arbitraryTensorList: fc.Arbitrary<TensorList> = arbitraryOfField(TENSORS) as fc.Arbitrary<TensorList>;

export const arbitraryStamp: fc.Arbitrary<{ readonly epoch: string; readonly seq: number }> = fc.record(
  {
    epoch: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((octets) => Buffer.from(octets).toString("hex")),
    seq: arbitraryUint,
  },
  { noNullPrototype: true },
);
