import type { PoolRow, RowPool } from "./row-pool.ts";

/**
 * How a server of inference wants to be asked and how it answers. `oip` is the Open Inference Protocol V2, its data flat. The
 * others are what peers of benchmarks speak, which get one row of the model's only input: `plain` is `{"data": [...]}` both
 * ways, several outputs one behind the other, `lists` is `{"rows": [[...]]}`, answered by a list of lists. `oip-binary` is the
 * Open Inference Protocol with FP32 inputs as bytes behind the JSON; it is answered in JSON.
 */
export type RequestFormName = "oip" | "oip-binary" | "plain" | "lists";

/** What an answer is for. */
export type Asked = { readonly id: string; readonly pool: RowPool; readonly rows: readonly PoolRow[] };

export type RequestForm = {
  path(model: string): string;
  body(id: string, pool: RowPool, rows: readonly PoolRow[]): string | Uint8Array;
  /** What every request has in its head. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer's JSON as the Open Inference Protocol would have it. What a form does not carry is filled in, as if it were right. */
  toOip(answer: unknown, asked: Asked): unknown;
};

/** The JSON before bytes is filled up to this length, so that all requests have one head. */
const JSON_BYTES = 512;

export const REQUEST_FORMS: Readonly<Record<RequestFormName, RequestForm>> = {
  oip: {
    path: (model) => `/v2/models/${encodeURIComponent(model)}/infer`,
    body: (id, pool, rows) => {
      const inputs = pool.inputs.map(({ name, datatype }, i) => {
        const shape = [rows.length, ...(rows[0]?.inputShapes[i] ?? [])];
        const data = rows.map(({ inputTexts }) => inputTexts[i]).join(",");
        return `{"name":${JSON.stringify(name)},"shape":[${shape.join(",")}],"datatype":"${datatype}","data":[${data}]}`;
      });
      return `{"id":"${id}","inputs":[${inputs.join(",")}]}`;
    },
    toOip: (answer) => answer,
  },
  "oip-binary": {
    path: (model) => `/v2/models/${encodeURIComponent(model)}/infer`,
    headers: { "inference-header-content-length": String(JSON_BYTES) },
    body: (id, pool, rows) => {
      const blobs = pool.inputs.map((_, i) => {
        const values = rows.flatMap(({ inputTexts }) => (inputTexts[i] ?? "").split(",").map(Number));
        return new Uint8Array(Float32Array.from(values).buffer);
      });
      const inputs = pool.inputs.map(({ name, datatype }, i) => {
        const shape = [rows.length, ...(rows[0]?.inputShapes[i] ?? [])];
        if (datatype !== "FP32") throw new RangeError("this form takes FP32");
        return { name, shape, datatype, parameters: { binary_data_size: blobs[i]?.byteLength } };
      });
      const json = JSON.stringify({ id, inputs });
      if (json.length > JSON_BYTES) throw new RangeError("this form takes few inputs with short names");
      return Buffer.concat([Buffer.from(json.padEnd(JSON_BYTES)), ...blobs]);
    },
    toOip: (answer) => answer,
  },
  plain: {
    path: () => "/inference",
    body: (_id, _pool, rows) => `{"data":[${onlyRow(rows).inputTexts[0]}]}`,
    toOip: (answer, asked) => toOip((answer as { readonly data?: unknown } | null)?.data, asked),
  },
  lists: {
    path: () => "/inference",
    body: (_id, _pool, rows) => `{"rows":[[${onlyRow(rows).inputTexts[0]}]]}`,
    toOip: (answer, asked) => toOip(Array.isArray(answer) && answer.length === 1 ? answer[0] : undefined, asked),
  },
};

function onlyRow(rows: readonly PoolRow[]): PoolRow {
  const [row] = rows;
  if (row === undefined || rows.length > 1 || row.inputTexts.length > 1) {
    throw new RangeError("this form takes one row of one input");
  }
  return row;
}

/** The data of all outputs follow one another; each takes as many elements as the model's own answer has. */
function toOip(data: unknown, { id, pool, rows }: Asked): unknown {
  let at = 0;
  const outputs = pool.outputs.map((output, i) => {
    const { shape = [], data: exact = [] } = rows[0]?.outputs[i] ?? {};
    const isLast = i === pool.outputs.length - 1;
    const own = Array.isArray(data) ? data.slice(at, isLast ? undefined : at + exact.length) : undefined;
    at += exact.length;
    return { ...output, shape: [rows.length, ...shape], data: own };
  });
  return { id, model_name: pool.model, outputs };
}
