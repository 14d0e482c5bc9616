import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HttpAnswer } from "./http-answer-reader.ts";
import { mixedModel, perceptronModel, writeModels } from "./load-models.ts";
import { type CheckedRequest, RowIdentityChecker } from "./row-identity.ts";
import { buildRowPool, type Element, type RowPool } from "./row-pool.ts";

let dir: string;
let pools: RowPool[];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-row-identity-"));
  const paths = await writeModels(dir, [perceptronModel(), mixedModel()]);
  pools = await Promise.all(
    paths.map((path, i) => buildRowPool({ model: ["perceptron", "mixed"][i]!, path, rows: 200, seed: 1 })),
  );
});

afterAll(async () => rm(dir, { recursive: true }));

type JsonAnswer = { id: string; model_name: string; outputs: { name: string; shape: number[]; data: Element[] }[] };

/** The right answer to a request, from its rows' lone answers. */
function rightAnswer({ id, pool, rows }: CheckedRequest): JsonAnswer {
  const outputs = pool.outputs.map(({ name, datatype }, i) => ({
    name,
    datatype,
    shape: [rows.length, ...rows[0]!.outputs[i]!.shape],
    data: rows.flatMap((row) => row.outputs[i]!.data),
  }));
  return { id, model_name: pool.model, outputs };
}

function toAnswer(answer: JsonAnswer, timing = `retry;dur=0, batch;desc="8", worker;desc="w"`): HttpAnswer {
  // JSON.rawJSON keeps 64-bit integers whole.
  const { rawJSON: raw } = JSON as unknown as { readonly rawJSON: (this: void, text: string) => unknown };
  const body = JSON.stringify(answer, (_key, value: unknown) =>
    typeof value === "bigint" ? raw(String(value)) : value,
  );
  return { status: 200, head: `HTTP/1.1 200 OK\r\nServer-Timing: ${timing}`, body: Buffer.from(body) };
}

/** Requests of the checker until one fits. */
function nextWhere(checker: RowIdentityChecker, fits: (request: CheckedRequest) => boolean): CheckedRequest {
  for (let i = 0; i < 10_000; i++) {
    const request = checker.next();
    if (fits(request)) return request;
  }
  throw new Error("no request fits");
}

const of =
  (model: string, rows: number) =>
  (request: CheckedRequest): boolean =>
    request.pool.model === model && request.rows.length === rows && new Set(request.rows).size === rows;

/** The fault that the checker finds when the right answer to one request is spoilt. */
function faultOf(fits: (request: CheckedRequest) => boolean, spoil: (answer: JsonAnswer) => void): string {
  const checker = new RowIdentityChecker({ pools, seed: 7 });
  const request = nextWhere(checker, fits);
  const answer = rightAnswer(request);
  spoil(answer);
  checker.check(request, toAnswer(answer));
  const report = checker.report();
  expect(report.mismatches).toBe(report.firstMismatches.length);
  return report.firstMismatches[0]?.fault ?? "";
}

test("right answers pass, whatever the shapes and types, and rounding is forgiven", () => {
  const checker = new RowIdentityChecker({ pools, seed: 3 });
  const lengths = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const request = checker.next();
    lengths.add(`${request.pool.model} ${request.rows[0]?.inputShapes[0]?.join()} ${request.rows.length}`);
    const answer = rightAnswer(request);
    for (const output of answer.outputs) {
      output.data = output.data.map((value) => (typeof value === "number" ? value * (1 + 5e-5) : value));
    }
    checker.check(request, toAnswer(answer));
  }
  const { requests, mismatches, firstMismatches, statuses } = checker.report();
  expect(firstMismatches).toEqual([]);
  expect({ requests, mismatches, statuses }).toEqual({ requests: 500, mismatches: 0, statuses: { 200: 500 } });
  expect(lengths.size).toBe(8 + 5 * 8);
});

test("two rows of one answer swapped", () => {
  const swap = (width: number) => (answer: JsonAnswer) => {
    const { data } = answer.outputs[0]!;
    answer.outputs[0]!.data = [...data.slice(width, 2 * width), ...data.slice(0, width), ...data.slice(2 * width)];
  };
  expect(faultOf(of("perceptron", 5), swap(8))).toContain("row 0");
  const isOfFive = (request: CheckedRequest): boolean => request.rows[0]!.inputShapes[0]![0] === 5;
  expect(faultOf((request) => of("mixed", 3)(request) && isOfFive(request), swap(5))).toContain(
    "output running: row 0",
  );
});

test("one wrong row, and one wrong element of it", () => {
  const wrong = (at: number, value: (old: Element) => Element) => (answer: JsonAnswer) => {
    const data = answer.outputs.at(-1)!.data;
    data[at] = value(data[at]!);
  };
  expect(
    faultOf(
      of("perceptron", 4),
      wrong(31, (old) => Number(old) + 1e-2),
    ),
  ).toContain("row 3, element 31");
  expect(
    faultOf(
      of("mixed", 2),
      wrong(1, (old) => `${String(old)}.`),
    ),
  ).toContain("output echo: row 1");
  const another = pools[0]!.groups[0]![0]!.outputs[0]!.data;
  const replace = (answer: JsonAnswer): void => void answer.outputs[0]!.data.splice(8, 8, ...another);
  expect(faultOf(of("perceptron", 3), replace)).toContain("row 1");
});

test("a 64-bit integer that lost its last bit", () => {
  const round = (answer: JsonAnswer): void => {
    answer.outputs[1]!.data = answer.outputs[1]!.data.map((value) => BigInt(Number(value)));
  };
  expect(faultOf(of("mixed", 8), round)).toContain("output shifted");
});

test("the answers of two requests exchanged, even where their ids are not", () => {
  for (const keepIds of [false, true]) {
    const checker = new RowIdentityChecker({ pools, seed: 5 });
    const [a, b] = [nextWhere(checker, of("perceptron", 2)), nextWhere(checker, of("perceptron", 2))];
    checker.check(a, toAnswer({ ...rightAnswer(b), ...(keepIds ? { id: a.id } : {}) }));
    checker.check(b, toAnswer({ ...rightAnswer(a), ...(keepIds ? { id: b.id } : {}) }));
    const { mismatches, firstMismatches } = checker.report();
    expect(mismatches).toBe(2);
    expect(firstMismatches[0]?.fault).toContain(keepIds ? "row 0" : "is for the request");
    expect(firstMismatches[0]).toMatchObject({ id: a.id, request: a.body, rows: a.rows.map(({ id }) => id) });
  }
});

test("rows missing, rows too many, a wrong shape, a padded row", () => {
  const fits = of("perceptron", 3);
  expect(faultOf(fits, (answer) => answer.outputs[0]!.data.splice(16))).toContain("row 2");
  expect(faultOf(fits, (answer) => answer.outputs[0]!.data.push(0))).toContain("25 elements, expected 24");
  expect(faultOf(fits, (answer) => (answer.outputs[0]!.shape = [4, 8]))).toContain("shape [4,8], expected [3,8]");
  expect(faultOf(fits, (answer) => answer.outputs.pop())).toContain("outputs");
  expect(faultOf(fits, (answer) => (answer.outputs[0]!.name = "z"))).toContain("is not y");
});

test("counts runs, not requests; a run smaller than the request is a fault", () => {
  const checker = new RowIdentityChecker({ pools: [pools[0]!], seed: 5 });
  const send = (rows: number, batchRows: number): void => {
    const request = nextWhere(checker, of("perceptron", rows));
    const timing = `retry;dur=${batchRows === 2 ? 1.5 : 0}, batch;desc="${batchRows}", worker;desc="w${rows}"`;
    checker.check(request, toAnswer(rightAnswer(request), timing));
  };
  for (const [rows, batchRows] of [
    [4, 8],
    [3, 8],
    [1, 8],
    [2, 2],
  ] as const)
    send(rows, batchRows);
  const { batches, workers, retried } = checker.report();
  expect(batches.perceptron).toEqual({ runs: 2, meanRows: 5, meanRequests: 2, histogram: { 2: 1, 8: 1 } });
  expect(workers).toEqual({ w1: 1, w2: 1, w3: 1, w4: 1 });
  expect(retried).toBe(1);
  send(4, 3);
  expect(checker.report().firstMismatches[0]?.fault).toContain("says that its run had 3");
});

test("what is not 200 is counted by status, and kept", () => {
  const checker = new RowIdentityChecker({ pools, seed: 5 });
  const head = "HTTP/1.1 504 Gateway Timeout";
  for (let i = 0; i < 7; i++) checker.check(checker.next(), { status: 504, head, body: Buffer.from("{}") });
  const { requests, rows, statuses, firstErrors, mismatches } = checker.report();
  expect({ requests, rows, statuses, mismatches }).toEqual({
    requests: 7,
    rows: 0,
    statuses: { 504: 7 },
    mismatches: 0,
  });
  expect(firstErrors).toHaveLength(5);
});

test("a model whose answers do not tell rows apart is refused", async () => {
  const constant = { ...perceptronModel(), name: "constant" };
  const nodes = constant.nodes.with(2, { op: "Gemm", inputs: ["h0", "zero", "b1"], outputs: ["y"] });
  const zero = { name: "zero", datatype: "FP32", shape: [32, 8], data: new Float32Array(256) } as const;
  const initializers = [...constant.initializers!, zero];
  const [path] = await writeModels(dir, [{ ...constant, nodes, initializers }]);
  await expect(buildRowPool({ model: "constant", path: path!, rows: 3, seed: 1 })).rejects.toThrow("differ too little");
});
