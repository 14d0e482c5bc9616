import { ARRAYS, elementCount, isDatatype, type Tensor } from "./tensor.ts";

/** Where tensors begin after the JSON: aligned for elements of every size, so that a server can view them where they lie. */
const ALIGNMENT = 8;

/** The body of an infer request; without a `jsonBytes` all of it is JSON. */
export type RequestBody = { readonly bytes: Uint8Array<ArrayBuffer>; readonly jsonBytes: number | undefined };

/**
 * Encodes an infer request: one copy of the data. `head` are its other members.
 *
 * @throws {RangeError} for data that does not fill its shape, and numbers that JSON cannot carry.
 * @throws {TypeError} for data that is not its datatype's, or cannot go as JSON.
 */
export function encodeRequest(
  inputs: Readonly<Record<string, Tensor>>,
  head: Readonly<Record<string, unknown>>,
  form: "binary" | "json",
): RequestBody {
  const entries = Object.entries(inputs);
  for (const [name, tensor] of entries) checkTensor(name, tensor);
  const rest = JSON.stringify(head).slice(1);
  const follow = rest === "}" ? rest : `,${rest}`;
  if (form === "json") {
    const texts = entries.map(([name, tensor]) => `${opening(name, tensor)},"data":[${jsonElements(name, tensor)}]}`);
    return { bytes: new TextEncoder().encode(`{"inputs":[${texts.join(",")}]${follow}`), jsonBytes: undefined };
  }
  const blobs = entries.map(([, tensor]) => bytesOf(tensor));
  const texts = entries.map(
    ([name, tensor], at) => `${opening(name, tensor)},"parameters":{"binary_data_size":${blobs[at]!.byteLength}}}`,
  );
  const json = new TextEncoder().encode(`{"inputs":[${texts.join(",")}]${follow}`);
  const jsonBytes = Math.ceil(json.byteLength / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(blobs.reduce((total, blob) => total + blob.byteLength, jsonBytes));
  bytes.fill(0x20, json.byteLength, jsonBytes);
  bytes.set(json);
  let end = jsonBytes;
  for (const blob of blobs) {
    bytes.set(blob, end);
    end += blob.byteLength;
  }
  return { bytes, jsonBytes };
}

function opening(name: string, { datatype, shape }: Tensor): string {
  return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`;
}

function checkTensor(name: string, { datatype, shape, data }: Tensor): void {
  if (!isDatatype(datatype)) throw new TypeError(`input "${name}": no datatype ${String(datatype)}`);
  const fits = datatype === "BYTES" ? Array.isArray(data) : data instanceof ARRAYS[datatype];
  if (!fits) {
    const wanted = datatype === "BYTES" ? "an array of texts or bytes" : ARRAYS[datatype].name;
    throw new TypeError(`input "${name}": ${datatype} is given as ${wanted}`);
  }
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || data.length !== elementCount(shape)) {
    throw new RangeError(`input "${name}": ${data.length} elements do not fill the shape [${shape.join(",")}]`);
  }
}

/** Little-endian, where typed arrays are; the client refuses to work elsewhere. BYTES stand behind their length as uint32. */
function bytesOf(tensor: Tensor): Uint8Array {
  if (tensor.datatype !== "BYTES") {
    return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  }
  const encoder = new TextEncoder();
  const items = tensor.data.map((item) => (typeof item === "string" ? encoder.encode(item) : item));
  const bytes = new Uint8Array(items.reduce((total, item) => total + 4 + item.byteLength, 0));
  const view = new DataView(bytes.buffer);
  let end = 0;
  for (const item of items) {
    view.setUint32(end, item.byteLength, true);
    bytes.set(item, end + 4);
    end += 4 + item.byteLength;
  }
  return bytes;
}

function jsonElements(name: string, tensor: Tensor): string {
  switch (tensor.datatype) {
    case "FP16":
    case "BF16":
      throw new TypeError(`input "${name}": ${tensor.datatype} cannot go as JSON`);
    case "BOOL":
      return Array.from(tensor.data, (item) => item !== 0).join(",");
    case "BYTES":
      return tensor.data.map((item) => JSON.stringify(typeof item === "string" ? item : textOf(name, item))).join(",");
    case "FP32":
    case "FP64":
      return Array.from(tensor.data, (item) => jsonNumber(name, item)).join(",");
    default:
      return tensor.data.join(",");
  }
}

function jsonNumber(name: string, value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`input "${name}": ${value} cannot go as JSON`);
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function textOf(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new TypeError(`input "${name}": bytes that are not UTF-8 cannot go as JSON`, { cause });
  }
}
