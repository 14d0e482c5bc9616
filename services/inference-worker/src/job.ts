import {
  decodeTensorList,
  encodeTensorList,
  ERROR_CODES,
  LIMITS,
  type MessageOf,
  type ModelDescription,
  type ResultItem,
} from "@millrace/protocol";
import { assemble, type Assembled, type AssembleItem, type ItemFault, split } from "./assemble.ts";
import type { Padding } from "./padding.ts";
import type { BatchTensor, Ran } from "./runner.ts";

/** One request of a batch. */
export type JobEntry = {
  readonly item: AssembleItem;
  /** Names of the outputs it asks for; none means all. */
  readonly outputs: readonly string[];
  /** Whose it is: names the gateway's session together with `request`. A view into the message. */
  readonly origin: Uint8Array;
  readonly request: number;
  readonly attempt: number;
  /** See `encodeTrace`: for logs. */
  readonly trace: Uint8Array;
  readonly deadlineMs: number;
  /** Nobody wants the answer: it does not start, and is not answered. */
  cancelled: boolean;
  /** Why it did not run, or failed. */
  fault: ItemFault | undefined;
};

/** One session with one broker: batches are answered in the session that they came in, or not at all. */
export type Session = {
  /** Its address. */
  readonly broker: string;
  /** By slot, cumulative since the session began: how many batches the broker may have sent. */
  readonly granted: number[];
};

/** A batch as the worker received it. */
export type Job = {
  /** Unique in its session. */
  readonly batch: number;
  readonly session: Session;
  readonly model: ModelDescription;
  readonly padding: Padding | undefined;
  /** The model's number in MODELS. */
  readonly index: number;
  readonly bucket: string;
  readonly receivedMs: number;
  readonly entries: readonly JobEntry[];
  /** What was put together while the slot was busy; good as long as no entry has dropped out since. */
  prepared: Prepared | undefined;
  /** Its run, where the slot's thread has it already although another batch runs. */
  ahead: Ahead | undefined;
};

/** The part of a batch that runs: positions of the entries that take part, and their tensors, concatenated. */
export type Prepared = { readonly live: readonly number[]; readonly assembled: Assembled };

/** What a run came to: `failed`, and every entry that took part has its fault; `skipped`: it was not begun. */
export type RunEnd = Ran | "failed" | "skipped";

/** A run that was handed over while another one was on. */
export type Ahead = { readonly prepared: Prepared; readonly end: Promise<RunEnd>; readonly recall: () => void };

/** A JOB to what the worker keeps of it. Payloads stay views into the message until they are assembled. */
export function jobOf(
  message: MessageOf<"JOB">,
  context: Pick<Job, "session" | "model" | "padding">,
  nowMs: number,
): Job {
  return {
    batch: message.batch,
    session: context.session,
    model: context.model,
    padding: context.padding,
    index: message.model,
    bucket: message.bucket,
    receivedMs: nowMs,
    entries: message.items.map((item) => {
      const list = decodeTensorList(item.tensors);
      const { rows, payload, origin, request, attempt, trace } = item;
      return {
        item: { rows, tensors: list?.tensors ?? [], payload },
        outputs: list?.outputs ?? [],
        origin,
        request,
        attempt,
        trace,
        deadlineMs: nowMs + item.budgetUs / 1000,
        cancelled: false,
        fault:
          list === undefined ? { code: "malformed_message", message: "the tensor list cannot be read" } : undefined,
      };
    }),
    prepared: undefined,
    ahead: undefined,
  };
}

/**
 * Puts together what is still worth running: entries that were cancelled, ran out of time or do not fit the model stay out,
 * and the latter two get their fault. Work done before is used again if the same entries take part. O(bytes) otherwise.
 */
export function prepare(job: Job, nowMs: number): Prepared {
  const live: number[] = [];
  for (const [index, entry] of job.entries.entries()) if (isWorthRunning(entry, nowMs)) live.push(index);
  // Entries only ever drop out: as many as before are the same as before.
  if (job.prepared?.live.length === live.length) return job.prepared;
  const assembled = assemble(
    job.model,
    live.map((index) => job.entries[index]!.item),
    job.padding,
  );
  for (const [position, fault] of assembled.faults.entries()) {
    if (fault !== undefined) job.entries[live[position]!]!.fault = fault;
  }
  job.prepared = { live: assembled.included.map((position) => live[position]!), assembled };
  return job.prepared;
}

/** When the first of the entries that take part runs out of time. */
export function firstDeadlineMs(job: Job, { live }: Prepared): number {
  return live.reduce((earliest, index) => Math.min(earliest, job.entries[index]!.deadlineMs), Infinity);
}

/** One entry alone, for a batch that failed as a whole; undefined if it is not worth running any more. */
export function prepareAlone(job: Job, index: number, nowMs: number): Prepared | undefined {
  const entry = job.entries[index];
  if (entry === undefined || !isWorthRunning(entry, nowMs)) return undefined;
  return { live: [index], assembled: assemble(job.model, [entry.item], job.padding) };
}

/** Whether an entry may start now. One that is out of time gets its fault. */
function isWorthRunning(entry: JobEntry, nowMs: number): boolean {
  if (entry.fault !== undefined || entry.cancelled) return false;
  if (entry.deadlineMs > nowMs) return true;
  entry.fault = { code: "deadline_exceeded", message: "the budget passed before the batch could run" };
  return false;
}

/** The answers of the entries that ran, cut out of the batch's outputs. */
export function answersOf(job: Job, { live, assembled }: Prepared, outputs: readonly BatchTensor[]): ResultItem[] {
  const entries = live.map((index) => job.entries[index]!);
  const pieces = split(
    outputs,
    entries.map(({ item }) => item.rows),
    { wantedOutputs: entries.map(({ outputs }) => outputs), extents: assembled.extents },
  );
  return pieces.map(({ tensors, payload, fault }, position) => {
    const index = live[position]!;
    if (fault !== undefined) return refusalOf(index, job.entries[index]!.attempt, fault);
    const list = encodeTensorList({ tensors, outputs: [] });
    if (payload.byteLength > LIMITS.payloadBytes || list.byteLength > LIMITS.tensorsBytes) {
      const message = `the answer of ${payload.byteLength} bytes in ${tensors.length} tensors is more than one message can carry`;
      return refusalOf(index, job.entries[index]!.attempt, { code: "model_error", message });
    }
    return answerOf(index, job.entries[index]!.attempt, { payload, tensors: list });
  });
}

/** The refusals of the entries that have a fault. */
export function refusalsOf(job: Job): ResultItem[] {
  const items: ResultItem[] = [];
  for (const [index, { attempt, fault, cancelled }] of job.entries.entries()) {
    if (fault !== undefined && !cancelled) items.push(refusalOf(index, attempt, fault));
  }
  return items;
}

function refusalOf(index: number, attempt: number, fault: ItemFault): ResultItem {
  const text = fault.message.slice(0, TEXT_CHARACTERS);
  return answerOf(index, attempt, { code: ERROR_CODES[fault.code].number, text });
}

/** Written out: a spread of two objects for each row is a tenth of what an answer costs. */
function answerOf(
  request: number,
  attempt: number,
  { code = 0, text = "", payload = NOTHING, tensors = NOTHING }: Partial<ResultItem>,
): ResultItem {
  return { request, attempt, code, retryAfterMs: 0, brokerQueueUs: 0, retryUs: 0, text, payload, tensors };
}

const NOTHING = Buffer.alloc(0);

/** A message for the client, cut so that it fits its field whatever characters it holds (3 UTF-8 octets each at most). */
const TEXT_CHARACTERS = 340;
