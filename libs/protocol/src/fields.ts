import { DATATYPES, datatypeOfCode, type Datatype } from "./datatype.ts";
import { LIMITS } from "./limits.ts";
import type { MsgpackReader, MsgpackWriter } from "./msgpack.ts";
import type { PayloadPacker, PayloadReader } from "./payload.ts";

/** Where a message is written to: its descriptors, and the frames that its payloads go to. */
export type Sink = { readonly msgpack: MsgpackWriter; readonly payloads: PayloadPacker };

/** Where a message is read from: its descriptors, and the frames that its payloads are in. */
export type Source = { readonly msgpack: MsgpackReader; readonly payloads: PayloadReader };

/**
 * One position of a descriptor array: how a value is written and read. `read` never throws; what does not fit is left in the
 * reader's `fault`. `wire` is the name of the type in docs/protocol.md.
 */
export type Field<T> = {
  readonly wire: string;
  write(sink: Sink, value: T): void;
  read(source: Source): T;
};

/** The value that a field carries. */
export type ValueOf<F> = F extends Field<infer T> ? T : never;

/** Fields by name; the order of the keys is the order on the wire. */
// Methods are bivariant, so a field of any type is one of `unknown`.
export type FieldTable = Readonly<Record<string, Field<unknown>>>;

type Values<T> = { -readonly [K in keyof T]: ValueOf<T[K]> };

/** How many fields a newer minor version may add to a struct. */
const EXTRA_FIELDS_MAX = 16;

/** A field that stands for an array of named fields, and knows them (for documentation and tests). */
export type StructField<T> = Field<T> & { readonly fields: FieldTable };

/** A field that stands for a list of at most `max` elements, and knows what they are. */
export type ListField<T> = Field<readonly T[]> & { readonly element: Field<T>; readonly max: number };

/** An unsigned integer, 0 to 2^53 − 1; quantities carry their unit in the field's name. */
export const uint: Field<number> = {
  wire: "uint",
  write: ({ msgpack }, value) => msgpack.uint(value),
  read: ({ msgpack }) => msgpack.uint(),
};

/** A boolean, as 0 or 1. */
export const flag: Field<boolean> = {
  wire: "flag",
  write: ({ msgpack }, value) => msgpack.uint(value ? 1 : 0),
  read: ({ msgpack }) => {
    const value = msgpack.uint();
    if (value > 1) msgpack.fail("expected 0 or 1");
    return value === 1;
  },
};

/** A dimension: a size, or −1 where the model leaves it open. */
export const dimension: Field<number> = {
  wire: "dim",
  write: ({ msgpack }, value) => (value < 0 ? msgpack.minusOne() : msgpack.uint(value)),
  read: ({ msgpack }) => msgpack.dimension(),
};

/** A short string: a name. */
export const name: Field<string> = str("name", LIMITS.nameBytes);

/** A text for people; what is longer is cut when it is written. */
export const text: Field<string> = {
  ...str("text", LIMITS.textBytes),
  write: ({ msgpack }, value) => msgpack.str(cutText(value, LIMITS.textBytes)),
};

/** A datatype, as its code. */
export const datatype: Field<Datatype> = {
  wire: "datatype",
  write: ({ msgpack }, value) => msgpack.uint(DATATYPES[value].code),
  read: ({ msgpack }) => {
    const known = datatypeOfCode(msgpack.uint());
    if (known === undefined) msgpack.fail("unknown datatype");
    return known ?? "BYTES";
  },
};

/**
 * A payload: opaque bytes in the frames behind the header, `[frame, offset, length]` on the wire. Read as a view into the
 * frame; kept views keep the frame in memory.
 */
export const payload: Field<Uint8Array> = {
  wire: "payload",
  write: ({ msgpack, payloads }, value) => {
    const ref = payloads.add(value);
    msgpack.array(3);
    msgpack.uint(ref.frame);
    msgpack.uint(ref.offset);
    msgpack.uint(ref.length);
  },
  read: ({ msgpack, payloads }) => {
    msgpack.array(3, 3);
    const ref = { frame: msgpack.uint(), offset: msgpack.uint(), length: msgpack.uint() };
    const bytes = payloads.take(ref);
    if (bytes === undefined) msgpack.fail("a payload reference points outside its frame, or at bytes that are taken");
    return bytes ?? EMPTY;
  },
};

/** Binary inside the descriptors, of at most `maxBytes`; a view into the header frame when read. */
export function bin(maxBytes: number): Field<Uint8Array> {
  return {
    wire: `bin(${maxBytes})`,
    write: ({ msgpack }, value) => msgpack.bin(value),
    read: ({ msgpack }) => msgpack.bin(maxBytes),
  };
}

/** One of a closed list of words, as its position (from 0). */
export function oneOf<const T extends string>(words: readonly T[]): Field<T> {
  return {
    wire: words.map((word, i) => `${i} ${word}`).join(" / "),
    write: ({ msgpack }, value) => msgpack.uint(words.indexOf(value)),
    read: ({ msgpack }) => {
      const word = words[msgpack.uint()];
      if (word === undefined) msgpack.fail(`expected one of ${words.join(", ")}`);
      return word ?? words[0]!;
    },
  };
}

/** A list of at most `max` elements. */
export function list<T>(element: Field<T>, max: number = LIMITS.list): ListField<T> {
  return {
    wire: `list(${max}) of ${element.wire}`,
    element,
    max,
    write: (sink, values) => {
      sink.msgpack.array(values.length);
      for (const value of values) element.write(sink, value);
    },
    read: (source) => {
      const length = source.msgpack.array(0, max);
      const values: T[] = [];
      for (let i = 0; i < length && source.msgpack.fault === ""; i++) values.push(element.read(source));
      return values;
    },
  };
}

/**
 * Named fields at fixed positions of an array. Elements that a newer peer added behind the last one are passed over.
 *
 * Reader and writer of a struct are made of source text: with the names of its fields in it, V8 reads and makes its objects
 * as if they had been written by hand. One loop over `value[key]` for all structs takes twice the time.
 */
export function struct<T extends FieldTable>(fields: T): StructField<Values<T>> {
  const keys = Object.keys(fields);
  if (!keys.every((key) => /^[a-z]\w*$/i.test(key))) throw new TypeError(`a field's name is none: ${keys.join(", ")}`);
  const { length } = keys;
  const columns = keys.map((_, i) => `c${i}`);
  const writes = keys.map((key, i) => `${columns[i]}.write(sink, value.${key});`);
  const reads = keys.map((key, i) => `${key}: ${columns[i]}.read(source),`);
  const source = `return {
    write(sink, value) {
      sink.msgpack.array(${length});
      ${writes.join("\n      ")}
    },
    read(source) {
      const given = source.msgpack.array(${length}, ${length + EXTRA_FIELDS_MAX});
      const value = {
        ${reads.join("\n        ")}
      };
      for (let i = ${length}; i < given; i++) source.msgpack.skip();
      return value;
    },
  };`;
  // oxlint-disable-next-line typescript/no-implied-eval -- The text holds nothing but the names of our own tables, checked above.
  const compile = new Function(...columns, source) as (...columns: unknown[]) => Omit<Field<Values<T>>, "wire">;
  return { wire: "struct", fields, ...compile(...Object.values(fields)) };
}

/** A text as it is, or its longest start of at most `maxBytes` octets of UTF-8 that ends behind a whole character. */
function cutText(value: string, maxBytes: number): string {
  // A UTF-16 unit takes three octets at most.
  if (value.length * 3 <= maxBytes) return value;
  const octets = Buffer.from(value);
  if (octets.length <= maxBytes) return value;
  let end = maxBytes;
  while ((octets[end]! & 0xc0) === 0x80) end--;
  return octets.toString("utf8", 0, end);
}

const EMPTY = Buffer.alloc(0);

function str(wire: string, maxBytes: number): Field<string> {
  return {
    wire,
    write: ({ msgpack }, value) => msgpack.str(value),
    read: ({ msgpack }) => msgpack.str(maxBytes),
  };
}
