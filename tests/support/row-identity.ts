import { headerOf, type HttpAnswer } from "./http-answer-reader.ts";
import { REQUEST_FORMS, type RequestForm, type RequestFormName } from "./request-form.ts";
import { isNear, type PoolRow, type RowPool } from "./row-pool.ts";
import { SeededRandom } from "./seeded-random.ts";

/** One request that the checker made; it must come back with its answer, once. */
export type CheckedRequest = {
  /** Travels as the protocol's `id`, and must be echoed. */
  readonly id: string;
  readonly path: string;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly pool: RowPool;
  readonly rows: readonly PoolRow[];
};

/** An answer that is not what the model gives for these rows alone. */
export type Mismatch = {
  readonly fault: string;
  readonly model: string;
  readonly id: string;
  /** Ids of the rows in their pool, in the order of the request. */
  readonly rows: readonly number[];
  readonly request: string;
  readonly serverTiming: string;
  readonly answer: string;
};

/** Plain data, so that it can cross to another process. */
export type IdentityReport = {
  readonly requests: number;
  readonly rows: number;
  readonly mismatches: number;
  readonly firstMismatches: readonly Mismatch[];
  /** Answers by HTTP status. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly firstErrors: readonly string[];
  /** By model: see `BatchReport`. */
  readonly batches: Readonly<Record<string, BatchReport>>;
  /** Answers by the worker that made them. */
  readonly workers: Readonly<Record<string, number>>;
  /** Answers that needed more than one attempt. */
  readonly retried: number;
  /** Answers to requests that ran in parts; `batches` leaves these out. */
  readonly split: number;
};

/**
 * What is told of the runs behind the answers. Every request of r rows says how many rows B its run had. A run of B rows is
 * told of by requests with B rows together, each of which stands for r / B of the run: so Σ r/B is the number of runs, and the
 * mean below is over runs. (A mean over requests would count a large run once for each of its requests.)
 */
export type BatchReport = {
  readonly runs: number;
  readonly meanRows: number;
  readonly meanRequests: number;
  /** Runs by their number of rows. Whole numbers where every request of every run was answered with 200. */
  readonly histogram: Readonly<Record<string, number>>;
};

const KEPT_IN_FULL = 5;

/**
 * Makes requests out of pools of rows, and checks that each answer is, row by row, what the model gives for that row alone:
 * so no answer and no row went to another request, nothing was mixed up in a batch, and nothing influenced its neighbours.
 */
export class RowIdentityChecker {
  readonly #pools: readonly RowPool[];
  readonly #random: SeededRandom;
  readonly #rowsMax: number;
  readonly #exact: ReadonlySet<RowPool>;
  readonly #isTimed: boolean;
  readonly #runRowsMax: number;
  readonly #form: RequestForm;
  #sent = 0;
  #requests = 0;
  #rows = 0;
  #retried = 0;
  #split = 0;
  #mismatches = 0;
  readonly #first: Mismatch[] = [];
  readonly #errors: string[] = [];
  readonly #statuses = new Map<string, number>();
  readonly #workers = new Map<string, number>();
  readonly #batches = new Map<string, { rows: number; requests: number; runs: Map<number, number> }>();

  /**
   * Requests have 1 to `rowsMax` rows (default 8), of one pool each. `isTimed`: answers must tell their run in
   * `Server-Timing` (default true). `runRowsMax`: the largest run of the models; a request with more rows runs in parts, and
   * tells of one of them (default: no request is so large). `form`: how requests are written, by default the Open Inference Protocol.
   */
  constructor(options: {
    readonly pools: readonly RowPool[];
    readonly seed: number;
    readonly rowsMax?: number;
    readonly isTimed?: boolean;
    readonly runRowsMax?: number;
    readonly form?: RequestFormName;
  }) {
    this.#form = REQUEST_FORMS[options.form ?? "oip"];
    this.#isTimed = options.isTimed ?? true;
    this.#runRowsMax = options.runRowsMax ?? Infinity;
    this.#pools = options.pools;
    this.#random = new SeededRandom(options.seed);
    this.#rowsMax = options.rowsMax ?? 8;
    const isWide = (pool: RowPool): boolean => pool.outputs.some(({ datatype }) => /^U?INT64$/.test(datatype));
    this.#exact = new Set(options.pools.filter(isWide));
  }

  /** A request of random rows, its data flat. */
  next(): CheckedRequest {
    const pool = this.#random.pick(this.#pools);
    const group = this.#random.pick(pool.groups);
    const rows = Array.from({ length: this.#random.integer(1, this.#rowsMax) }, () => this.#random.pick(group));
    const id = `r${this.#sent++}`;
    const { headers = {} } = this.#form;
    return { id, path: this.#form.path(pool.model), body: this.#form.body(id, pool, rows), headers, pool, rows };
  }

  /** Checks the answer to a request of `next`. */
  check(request: CheckedRequest, answer: HttpAnswer): void {
    this.#requests += 1;
    increment(this.#statuses, String(answer.status));
    if (answer.status !== 200) {
      if (this.#errors.length < KEPT_IN_FULL) this.#errors.push(`${answer.status} ${answer.body.toString()}`);
      return;
    }
    this.#rows += request.rows.length;
    const serverTiming = headerOf(answer.head, "server-timing");
    const fault =
      (this.#isTimed ? this.#countBatch(request, serverTiming) : "") ||
      findFault(request, answer.body, { form: this.#form, isExact: this.#exact.has(request.pool) });
    if (fault === "") return;
    this.#mismatches += 1;
    if (this.#first.length < KEPT_IN_FULL) this.#first.push(toMismatch(request, fault, { answer, serverTiming }));
  }

  /** So far. */
  get mismatches(): number {
    return this.#mismatches;
  }

  report(): IdentityReport {
    return {
      requests: this.#requests,
      rows: this.#rows,
      mismatches: this.#mismatches,
      firstMismatches: [...this.#first],
      statuses: Object.fromEntries(this.#statuses),
      firstErrors: [...this.#errors],
      batches: Object.fromEntries(
        [...this.#batches].map(([model, { rows, requests, runs }]) => {
          const count = [...runs.values()].reduce((sum, share) => sum + share, 0);
          const histogram = Object.fromEntries([...runs].map(([size, share]) => [size, rounded(share)]));
          return [model, { runs: rounded(count), meanRows: rows / count, meanRequests: requests / count, histogram }];
        }),
      ),
      workers: Object.fromEntries(this.#workers),
      retried: this.#retried,
      split: this.#split,
    };
  }

  /** Returns what is wrong with what the answer says of its run, or "". */
  #countBatch({ pool, rows }: CheckedRequest, serverTiming: string): string {
    const batchRows = Number(/(?:^|, )batch;desc="(\d+)"/.exec(serverTiming)?.[1] ?? 0);
    const worker = /(?:^|, )worker;desc="([^"]+)"/.exec(serverTiming)?.[1];
    const retryMs = Number(/(?:^|, )retry;dur=([\d.]+)/.exec(serverTiming)?.[1]);
    if (worker === undefined || Number.isNaN(retryMs)) return "Server-Timing lacks the worker or the retry stage";
    const isSplit = rows.length > this.#runRowsMax;
    if (isSplit ? batchRows < 1 : batchRows < rows.length) {
      return `a request of ${rows.length} rows says that its run had ${batchRows}`;
    }
    if (batchRows > this.#runRowsMax) return `a run had ${batchRows} rows, at most ${this.#runRowsMax} are allowed`;
    increment(this.#workers, worker);
    if (retryMs > 0) this.#retried += 1;
    if (isSplit) {
      this.#split += 1;
      return "";
    }
    let batches = this.#batches.get(pool.model);
    if (batches === undefined) this.#batches.set(pool.model, (batches = { rows: 0, requests: 0, runs: new Map() }));
    batches.rows += rows.length;
    batches.requests += 1;
    batches.runs.set(batchRows, (batches.runs.get(batchRows) ?? 0) + rows.length / batchRows);
    return "";
  }
}

type JsonOutput = {
  readonly name: unknown;
  readonly datatype: unknown;
  readonly shape: unknown;
  readonly data: unknown;
};

/** What is wrong with the answer to these rows, or "". `isExact`: read integers beyond 2^53 without loss. */
function findFault(
  request: CheckedRequest,
  body: Buffer,
  { form, isExact }: { readonly form: RequestForm; readonly isExact: boolean },
): string {
  const { pool, rows, id } = request;
  let answer: { id?: unknown; model_name?: unknown; outputs?: unknown };
  try {
    const text = body.toString();
    answer = form.toOip(isExact ? parseExact(text) : JSON.parse(text), request) as typeof answer;
  } catch (error) {
    return `the answer cannot be read: ${String(error)}`;
  }
  if (answer.id !== id) return `the answer is for the request ${JSON.stringify(answer.id)}`;
  if (answer.model_name !== pool.model) return `the answer is of the model ${JSON.stringify(answer.model_name)}`;
  const { outputs } = answer;
  if (!Array.isArray(outputs) || outputs.length !== pool.outputs.length)
    return "the answer has not the model's outputs";
  for (const [i, { name, datatype }] of pool.outputs.entries()) {
    const output = outputs[i] as JsonOutput;
    if (output.name !== name || output.datatype !== datatype) return `output ${i} is not ${name} of ${datatype}`;
    const fault = findOutputFault(output, rows, i);
    if (fault !== "") return `output ${name}: ${fault}`;
  }
  return "";
}

function findOutputFault({ shape, data }: JsonOutput, rows: readonly PoolRow[], index: number): string {
  const expectedShape = [rows.length, ...(rows[0]?.outputs[index]?.shape ?? [])];
  if (!Array.isArray(shape) || shape.join() !== expectedShape.join()) {
    return `shape ${JSON.stringify(shape)}, expected [${expectedShape.join(",")}]`;
  }
  if (!Array.isArray(data)) return "no data";
  let at = 0;
  for (const [row, { outputs }] of rows.entries()) {
    for (const exact of outputs[index]!.data) {
      if (!isNear(data[at], exact)) {
        return `row ${row}, element ${at}: ${String(data[at])}, expected ${String(exact)}`;
      }
      at++;
    }
  }
  return data.length === at ? "" : `${data.length} elements, expected ${at}`;
}

/** JSON.parse that reads integers beyond 2^53 as bigint, from their text. */
function parseExact(text: string): unknown {
  const revive = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)
      ? BigInt(context?.source ?? Number.NaN)
      : value;
  return JSON.parse(text, revive);
}

function toMismatch(
  { pool, id, rows, body }: CheckedRequest,
  fault: string,
  { answer, serverTiming }: { readonly answer: HttpAnswer; readonly serverTiming: string },
): Mismatch {
  const ids = rows.map((row) => row.id);
  const request = typeof body === "string" ? body : `${body.byteLength} bytes`;
  return { fault, model: pool.model, id, rows: ids, request, serverTiming, answer: answer.body.toString() };
}

/** Shares of runs add up to whole runs but for rounding of floating point. */
function rounded(share: number): number {
  return Math.round(share * 1e6) / 1e6;
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
