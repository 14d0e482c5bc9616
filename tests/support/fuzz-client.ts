import { connect, type Socket } from "node:net";
import { ERROR_CODES } from "@millrace/protocol";
import { within } from "./bounded.ts";
import { type FuzzCase, makeFuzzCase, WITNESS } from "./fuzz-case.ts";
import { SeededRandom } from "./seeded-random.ts";

/** What is wrong with a gateway's answer, or that there is none: the cases of its connection up to it, and the last that was sent. */
export type FuzzFault = { readonly what: string; readonly fault: string; readonly sent: string };

/** What a fuzz run saw. */
export type FuzzReport = {
  requests: number;
  /** Answers by status, and under `none` the connections that were left before an answer. */
  readonly statuses: Map<string, number>;
  /** Answers by the name of the case and the code, or `ok`. */
  readonly cases: Map<string, number>;
  readonly faults: FuzzFault[];
};

export type FuzzPlan = {
  readonly url: string;
  readonly seed: number;
  readonly requests: number;
  readonly connections: number;
};

const ANSWER_TIMEOUT_MS = 30_000;
const FAULTS_MAX = 10;
/** How long a gateway goes on reading what it has refused, in milliseconds: half a second less than it does. */
const LINGER_MS = 1_500;
/** Requests that are written before the first answer is awaited. */
const TRAIN_MAX = 5;

/**
 * Sends that many requests over so many connections at a time, several in a pipeline, checks every answer, and adds what it sees to the
 * report. Ends early where ten are wrong. A connection's requests depend on the seed and its number alone.
 */
export async function fuzz(plan: FuzzPlan, report: FuzzReport): Promise<void> {
  const last = report.requests + plan.requests;
  const lane = async (number: number): Promise<void> => {
    const random = new SeededRandom(plan.seed * 1000 + number);
    while (report.requests < last && report.faults.length < FAULTS_MAX) {
      await runConnection(plan.url, random, report);
    }
  };
  await Promise.all(Array.from({ length: plan.connections }, (_, number) => lane(number)));
}

/** A connection with a few trains of requests; it ends in one of the ways in which clients end. */
async function runConnection(url: string, random: SeededRandom, report: FuzzReport): Promise<void> {
  const connection = new FuzzConnection(url);
  try {
    for (let trains = random.integer(1, 8); trains > 0; trains--) {
      const train = makeTrain(random);
      if (random.next() < 0.03) return leave(connection, train[0]!, report);
      await connection.write(train);
      for (const one of train) {
        report.requests++;
        const answer = await connection.answerTo(one);
        count(report, one, answer);
        const fault = answer === undefined && connection.isReset(one) ? "" : faultOf(one, answer);
        connection.history.push(`${one.what} ${answer?.status}`);
        if (fault !== "")
          report.faults.push({
            what: connection.history.join(", "),
            fault: `${fault} ${connection.error}`,
            sent: shown(train),
          });
        if (answer === undefined || answer.isLast || fault !== "") return;
      }
    }
    connection.socket.end();
  } finally {
    connection.socket.destroy();
  }
}

function makeTrain(random: SeededRandom): FuzzCase[] {
  const train: FuzzCase[] = [];
  for (let length = random.next() < 0.6 ? 1 : random.integer(2, TRAIN_MAX); length > 0; length--) {
    const one = makeFuzzCase(random);
    train.push(one);
    if (one.isLast) return train;
  }
  // What came before must not have spoiled the connection.
  if (random.next() < 0.1) train.push(WITNESS);
  return train;
}

/** A client that goes away in the middle of a request. */
function leave(connection: FuzzConnection, one: FuzzCase, report: FuzzReport): void {
  report.requests++;
  report.statuses.set("none", (report.statuses.get("none") ?? 0) + 1);
  const bytes = Buffer.concat(one.pieces);
  connection.socket.write(bytes.subarray(0, Math.ceil(bytes.byteLength / 2)));
}

type Answer = {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** JSON, and what is behind it in binary form. */
  readonly body: string;
  readonly blob: Buffer;
  /** The connection ends behind it. */
  readonly isLast: boolean;
};

class FuzzConnection {
  readonly socket: Socket;
  /** The cases so far, with the statuses of their answers, and how it broke: for who reads of a fault. */
  readonly history: string[] = [];
  error = "";
  #writtenMs = 0;
  #held: Buffer = Buffer.alloc(0);
  #isOver = false;
  #overMs = 0;
  #wake: () => void = () => {};

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.#held = Buffer.concat([this.#held, chunk]);
      this.#wake();
    });
    const onOver = (): void => {
      if (!this.#isOver) this.#overMs = performance.now();
      this.#isOver = true;
      this.#wake();
    };
    this.socket.on("end", onOver);
    this.socket.on("error", ({ message }) => {
      this.error = message;
      onOver();
    });
    this.socket.on("close", onOver);
  }

  /**
   * Whether the answer may have been lost on the way: a client that still writes when the server has read on for long enough, as
   * one does that had no processor for seconds, is reset, and TCP takes along what it has not read.
   */
  isReset(one: FuzzCase): boolean {
    const isLate = this.#overMs - this.#writtenMs > LINGER_MS;
    return one.isLast && one.pieces.length > 1 && this.error !== "" && isLate;
  }

  /** Requests whole in one write as a pipeline has them; those in pieces piece by piece. */
  async write(train: readonly FuzzCase[]): Promise<void> {
    this.#writtenMs = performance.now();
    let whole: Uint8Array[] = [];
    for (const { pieces } of train) {
      for (const [i, piece] of pieces.entries()) {
        whole.push(piece);
        if (i === pieces.length - 1) continue;
        this.socket.write(Buffer.concat(whole));
        whole = [];
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    this.socket.write(Buffer.concat(whole));
  }

  /** The next answer; undefined where the connection ends instead. @throws Error for what is no answer, or takes too long. */
  async answerTo(one: FuzzCase): Promise<Answer | undefined> {
    for (;;) {
      const answer = this.#take(one);
      if (answer !== undefined) return answer;
      if (this.#isOver) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await within(ANSWER_TIMEOUT_MS, `an answer to ${one.what} (${shown([one])})`, promise);
    }
  }

  #take(one: FuzzCase): Answer | undefined {
    const headEnd = this.#held.indexOf("\r\n\r\n");
    if (headEnd < 0) return undefined;
    const [statusLine = "", ...lines] = this.#held.toString("latin1", 0, headEnd).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) ?/.exec(statusLine)?.[1]);
    const headers = new Map(lines.map((line) => pairOf(line)));
    const start = headEnd + 4;
    const length = Number(headers.get("content-length"));
    if (!Number.isInteger(length)) throw new Error(`an answer without length to ${one.what}: ${this.#held.toString()}`);
    const end = one.isHead ? start : start + length;
    if (this.#held.byteLength < end) return undefined;
    const jsonEnd = Math.min(end, start + Number(headers.get("inference-header-content-length") ?? length));
    const body = this.#held.toString("utf8", start, jsonEnd);
    const blob = this.#held.subarray(jsonEnd, end);
    this.#held = this.#held.subarray(end);
    return { status, headers, body, blob, isLast: headers.get("connection") === "close" };
  }
}

function pairOf(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

function count(report: FuzzReport, one: FuzzCase, answer: Answer | undefined): void {
  const status = answer === undefined ? "none" : String(answer.status);
  report.statuses.set(status, (report.statuses.get(status) ?? 0) + 1);
  const code = answer === undefined ? "no answer" : (/"code":"(\w+)"/.exec(answer.body)?.[1] ?? "ok");
  const name = `${one.what}: ${code}`;
  report.cases.set(name, (report.cases.get(name) ?? 0) + 1);
}

/** Statuses of what never became a request, which the error table has no codes for: see docs/errors.md. */
const PROTOCOL_STATUSES: readonly number[] = [413, 431];

/** Why this cannot be the answer to this case, or "". */
function faultOf(one: FuzzCase, answer: Answer | undefined): string {
  if (answer === undefined) return one.codes.includes("silence") ? "" : "the connection ended without an answer";
  const { status, headers, body } = answer;
  const type = headers.has("inference-header-content-length") ? "application/octet-stream" : "application/json";
  if (headers.get("content-type") !== type) return `content type ${headers.get("content-type")}`;
  if (!/^[\w.:/+=@-]{1,128}$/.test(headers.get("x-request-id") ?? "")) return "no x-request-id";
  if (one.isHead) return "";
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return `not JSON: ${body.slice(0, 500)}`;
  }
  if (status === 200)
    return one.expects === "good" || one.expects === "either" ? dataFault(one, answer) : `200 ${body.slice(0, 500)}`;
  return errorFault(one, status, value as { readonly error?: unknown; readonly code?: unknown });
}

function errorFault(
  one: FuzzCase,
  status: number,
  value: { readonly error?: unknown; readonly code?: unknown },
): string {
  const said = `${status} ${JSON.stringify(value)}`;
  const { error, code } = value;
  if (Object.keys(value).join() !== "error,code" || typeof error !== "string" || error === "") return said;
  const row = ERROR_CODES[code as keyof typeof ERROR_CODES];
  if (row === undefined) return said;
  const isProtocol = code === "invalid_request" && PROTOCOL_STATUSES.includes(status);
  if (row.http !== status && !isProtocol) return said;
  // A machine that is busy with other things may be late with anything.
  if (row.retryable) return "";
  if (one.expects === "good") return said;
  if (one.codes.length > 0 && !one.codes.includes(code as string) && !one.codes.includes("silence")) return said;
  return row.fault === "client" || one.codes.includes(code as string) ? "" : said;
}

/** What came has to be, digit for digit, what the model gives for this request alone. */
function dataFault({ data }: FuzzCase, { body, blob }: Answer): string {
  if (data === undefined) return "";
  const singles = Array.from({ length: blob.byteLength / 4 }, (_, i) => blob.readFloatLE(4 * i));
  const text = blob.byteLength > 0 ? singles.join() : (/"(?:data|result)":\[([^\]]*)\]/.exec(body)?.[1] ?? "");
  return text === data.join()
    ? ""
    : `${data.join()} is expected, the answer is ${body.slice(0, 500)} ${singles.join()}`;
}

function shown(train: readonly FuzzCase[]): string {
  return train.map(({ pieces }) => JSON.stringify(Buffer.concat(pieces).toString("latin1").slice(0, 600))).join(" | ");
}
