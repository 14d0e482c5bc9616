import { isUtf8 } from "node:buffer";
import { createWriteStream, type WriteStream } from "node:fs";
import type { After, HookContext, HookRecord, Tensor, Tensors } from "./contract.ts";

export type PayloadLogOptions = {
  /** The file that lines are appended to. Nobody cuts it: rotate it from outside, by copying and truncating. */
  readonly file: string;
  /** Which share of the requests is logged, 0 to 1; default 1. */
  readonly sample?: number;
  /** Tensors whose elements are not written: `inputs.NAME`, `outputs.NAME`. */
  readonly redact?: readonly string[];
  /** What is replaced by `[redacted]` in every text (BYTES); global expressions replace every match. Bytes that are no text go as a whole. */
  readonly redactTexts?: readonly RegExp[];
  /** Elements of a tensor that are written at most; default 1,000. `truncated` tells that there were more. */
  readonly elementsMax?: number;
};

const REDACTED = "[redacted]";

/**
 * An `after` hook that writes what was asked and answered, one JSON object a line: `@timestamp`, `request_id`, `model`, `version`,
 * `outcome`, `duration_ms`, and `inputs` and `outputs` by name as `{datatype, shape, data}`, flat. Integers have all their digits,
 * NaN and infinities are null, bytes that are no text are `{"base64"}`. It resolves when the line is written, so the gateway's
 * queue of `after` hooks bounds what waits, and counts what does not get in as dropped.
 *
 * @throws {RangeError} for an option that is out of its range.
 */
export function logPayloads(options: PayloadLogOptions): After {
  const { file, sample = 1, redact = [], redactTexts = [], elementsMax = 1_000 } = options;
  if (!(sample >= 0 && sample <= 1)) throw new RangeError("sample: 0 to 1");
  if (!(Number.isInteger(elementsMax) && elementsMax >= 0)) throw new RangeError("elementsMax: 0 or more");
  const wrong = redact.find((path) => !/^(inputs|outputs)\../s.test(path));
  if (wrong !== undefined) throw new RangeError(`redact: ${wrong} is neither inputs.NAME nor outputs.NAME`);
  const hidden = new Set(redact);
  const form: Form = { hidden, redactTexts, elementsMax };
  let output: Output | undefined;
  /** Whether the file ends within a line, which nobody may go on with. */
  let isTorn = false;
  return (record, context) => {
    if (Math.random() >= sample) return undefined;
    const line = `${isTorn ? "\n" : ""}${lineOf(record, context, form)}\n`;
    isTorn = false;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const to = (output ??= open());
    to.stream.write(line, (error) => {
      if (error) {
        leave(to);
        return reject(error);
      }
      to.wholeBytes += Buffer.byteLength(line);
      resolve();
    });
    return promise;
  };

  function open(): Output {
    const opened = { stream: createWriteStream(file, { flags: "a" }), wholeBytes: 0 };
    // Each line's own callback is told.
    opened.stream.on("error", () => leave(opened));
    return opened;
  }

  /** The next line opens the file anew; a full disk may have taken the beginning of the one that failed. */
  function leave(failed: Output): void {
    if (output !== failed) return;
    output = undefined;
    isTorn = failed.stream.bytesWritten > failed.wholeBytes;
  }
}

/** The open file, and the bytes of those lines that it has taken whole. */
type Output = { readonly stream: WriteStream; wholeBytes: number };

type Form = {
  readonly hidden: ReadonlySet<string>;
  readonly redactTexts: readonly RegExp[];
  readonly elementsMax: number;
};

function lineOf(record: HookRecord, { model, requestId }: HookContext, form: Form): string {
  const head = JSON.stringify({
    "@timestamp": new Date(record.atMs).toISOString(),
    request_id: requestId,
    model: model.name,
    version: model.version,
    outcome: record.outcome,
    duration_ms: Math.round(record.durationMs * 1000) / 1000,
  });
  const inputs = tensorsText("inputs", record.request.inputs, form);
  const outputs = tensorsText("outputs", record.outputs, form);
  return `${head.slice(0, -1)},"inputs":${inputs},"outputs":${outputs}}`;
}

function tensorsText(kind: "inputs" | "outputs", tensors: Tensors, form: Form): string {
  const members = Object.entries(tensors).map(([name, tensor]) => {
    const { datatype, shape } = tensor;
    const head = `{"datatype":"${datatype}","shape":[${shape.join(",")}]`;
    if (form.hidden.has(`${kind}.${name}`)) return `${JSON.stringify(name)}:${head},"data":"${REDACTED}"}`;
    const truncated = tensor.data.length > form.elementsMax ? ',"truncated":true' : "";
    return `${JSON.stringify(name)}:${head},"data":[${elementsText(tensor, form)}]${truncated}}`;
  });
  return `{${members.join(",")}}`;
}

function elementsText(tensor: Tensor, { elementsMax, redactTexts }: Form): string {
  if (tensor.datatype === "BYTES") {
    return tensor.data
      .slice(0, elementsMax)
      .map((bytes) => bytesText(bytes, redactTexts))
      .join(",");
  }
  const elements = tensor.data.subarray(0, elementsMax);
  if (elements instanceof BigInt64Array || elements instanceof BigUint64Array) return elements.join(",");
  return JSON.stringify(Array.from(elements)).slice(1, -1);
}

function bytesText(bytes: Buffer, redactTexts: readonly RegExp[]): string {
  if (!isUtf8(bytes)) {
    // One odd byte in a text must not hide from the patterns what is around it; the rest of it is no text to keep.
    const octets = bytes.toString("latin1");
    const isHidden = redactTexts.some((pattern) => octets.search(pattern) >= 0);
    return JSON.stringify(isHidden ? REDACTED : { base64: bytes.toString("base64") });
  }
  return JSON.stringify(redactTexts.reduce((text, pattern) => text.replace(pattern, REDACTED), bytes.toString("utf8")));
}
