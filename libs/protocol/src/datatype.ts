/**
 * Element types of tensors, by their Open Inference Protocol names.
 *
 * `code` is the number on the wire (MRP/1), fixed for ever. `bytes` is the size of one element, 0 where
 * elements vary in size (BYTES: each element is a little-endian uint32 length and that many bytes).
 * `json` tells whether the protocol's JSON form can carry the type: FP16 and BF16 travel in binary only.
 * Source: Open Inference Protocol V2, "Tensor Data Types"; BF16 as in Triton.
 */
export const DATATYPES = {
  BOOL: { code: 1, bytes: 1, json: true },
  INT8: { code: 2, bytes: 1, json: true },
  INT16: { code: 3, bytes: 2, json: true },
  INT32: { code: 4, bytes: 4, json: true },
  INT64: { code: 5, bytes: 8, json: true },
  UINT8: { code: 6, bytes: 1, json: true },
  UINT16: { code: 7, bytes: 2, json: true },
  UINT32: { code: 8, bytes: 4, json: true },
  UINT64: { code: 9, bytes: 8, json: true },
  FP16: { code: 10, bytes: 2, json: false },
  BF16: { code: 11, bytes: 2, json: false },
  FP32: { code: 12, bytes: 4, json: true },
  FP64: { code: 13, bytes: 8, json: true },
  BYTES: { code: 14, bytes: 0, json: true },
} as const satisfies Record<string, { code: number; bytes: number; json: boolean }>;

export type Datatype = keyof typeof DATATYPES;

const byCode: readonly (Datatype | undefined)[] = (() => {
  const table: (Datatype | undefined)[] = [];
  for (const name of Object.keys(DATATYPES) as Datatype[]) table[DATATYPES[name].code] = name;
  return table;
})();

/** Whether `name` is one of the datatypes; never throws, whatever it is given. */
export function isDatatype(name: unknown): name is Datatype {
  return typeof name === "string" && Object.hasOwn(DATATYPES, name);
}

/** The datatype of a wire code, or undefined for a code that MRP/1 does not know. */
export function datatypeOfCode(code: number): Datatype | undefined {
  return byCode[code];
}
