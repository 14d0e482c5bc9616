import { DATATYPES, elementCount, FREE, type ModelDescription } from "@millrace/protocol";
import { assembleInputs, checkShape, isOptional } from "./input-set.ts";
import { BINARY_FORM } from "./oip-outputs.ts";
import type { OipRequest } from "./oip-request.ts";
import { quote, Refusal, shapeText } from "../http/refusal.ts";

/**
 * A request without JSON (`Inference-Header-Content-Length: 0`): the body is the data of the only input that is needed, one row of it, and
 * all outputs come as bytes. One dimension may be open: it follows from the length. BYTES: the body is the one element, without
 * its length. Pure; nothing but a BYTES element is copied.
 */
export function parseRawRequest(body: Buffer, model: ModelDescription): OipRequest | Refusal {
  const [spec, ...others] = model.inputs.filter((_, position) => !isOptional(model, position));
  if (spec === undefined || others.length > 0) {
    const text = `a request without JSON is for models of one input, model ${quote(model.name)} has ${others.length + 1}`;
    return new Refusal("invalid_input", text);
  }
  const { name, datatype } = spec;
  const wanted = model.batching ? [1, ...spec.shape.slice(1)] : [...spec.shape];
  const open = wanted.indexOf(FREE);
  const size = DATATYPES[datatype].bytes;
  if (open !== wanted.lastIndexOf(FREE) || (size === 0 && (open >= 0 || elementCount(wanted) !== 1))) {
    const text = `input ${quote(name)}: shape ${shapeText(spec.shape)} does not follow from the body's length; send JSON`;
    return new Refusal("invalid_shape", text);
  }
  const known = elementCount(wanted.filter((one) => one !== FREE)) * size;
  const shape = wanted.map((one) => (one === FREE ? Math.floor(body.byteLength / Math.max(1, known)) : one));
  if (size > 0 && elementCount(shape) * size !== body.byteLength) {
    const text = `input ${quote(name)}: ${body.byteLength} bytes are no row of ${datatype} ${shapeText(spec.shape)}`;
    return new Refusal("invalid_shape", text);
  }
  const refusal = checkShape(model, spec, shape);
  if (refusal !== undefined) return refusal;
  const data = size > 0 ? body : withLength(body);
  const set = assembleInputs(model, [{ name, datatype, shape, data }]);
  if (set instanceof Refusal) return set;
  const choice = { names: [], forms: [], rest: BINARY_FORM };
  return { ...set, id: "", outputs: [], choice, timeoutMs: 0, priority: 0 };
}

function withLength(element: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(element.byteLength);
  return Buffer.concat([length, element]);
}
