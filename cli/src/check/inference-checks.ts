import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { deflate, gunzip, gzip, inflate } from "node:zlib";
import { type Check, Missing, missingUnless200, NoOccasion, type Subject } from "./subject.ts";
import {
  type Answer,
  CheckFault,
  expectStatus,
  type InferForm,
  inferRequest,
  jsonOf,
  LENGTH_HEADER,
  outputsOf,
  refusalOf,
  type Request,
} from "./messages.ts";
import { bytesOf, type CheckTensor, elementCount, fitsJson, isSame } from "./tensors.ts";

const BINARY = "binary_tensor_data";
/** How long a statistic may be behind. */
const STATISTICS_MS = 5_000;
const POLL_MS = 100;

export const inferenceChecks: readonly Check[] = [
  {
    name: "inference, JSON, flat data",
    run: async (subject) => {
      const outputs = await reference(subject);
      const lacking = jsonOutputs(subject).find(({ name }) => !outputs.some((output) => output.name === name));
      if (lacking !== undefined) throw new CheckFault(`output "${lacking.name}" is not there`);
      for (const { name, datatype, shape } of outputs) {
        const said = subject.outputs.find((output) => output.name === name);
        if (said === undefined) continue;
        if (said.datatype !== datatype)
          throw new CheckFault(`output "${name}" is ${datatype}, in the metadata ${said.datatype}`);
        const fits =
          said.shape.length === shape.length && said.shape.every((size, at) => size < 0 || size === shape[at]);
        if (!fits)
          throw new CheckFault(`output "${name}" is [${shape.join(",")}], in the metadata [${said.shape.join(",")}]`);
      }
      return outputs.map(({ name, datatype, shape }) => `${name} ${datatype}[${shape.join(",")}]`).join(", ");
    },
  },
  {
    name: "nested data",
    run: async (subject) => {
      if (subject.inputs.every(({ shape }) => shape.length < 2)) throw new NoOccasion("inputs have one dimension");
      return same(subject, await ask(subject, { ...plainForm(subject), nested: true }));
    },
  },
  {
    name: "the request's id comes back",
    run: async (subject) => {
      const answer = await ask(subject, { ...plainForm(subject), id: "check-1" });
      expectStatus(answer, 200);
      const end = answer.headers[LENGTH_HEADER];
      const { id } = jsonOf(answer, end === undefined ? undefined : Number(end)) as { readonly id?: unknown };
      if (id !== "check-1") throw new CheckFault(`id is ${JSON.stringify(id)}`);
      return "";
    },
  },
  {
    name: "one output, asked for by name",
    run: async (subject) => {
      const [first] = jsonOutputs(subject);
      if (first === undefined) throw new NoOccasion("no output can go as JSON");
      const outputs = [{ name: first.name, binary: false }];
      return same(subject, await ask(subject, { outputs }), [first.name]);
    },
  },
  {
    name: "two rows at a time are as each alone",
    extension: "",
    run: async (subject) => {
      if ([...subject.inputs, ...subject.outputs].some(({ shape }) => (shape[0] ?? 0) >= 0)) {
        throw new NoOccasion("the first dimension is not open");
      }
      const answer = await subject.endpoint.post(
        `${subject.path}/infer`,
        inferRequest(subject.madeUp(2), plainForm(subject)),
      );
      missingUnless200(answer);
      const both = outputsOf(answer, subject.model);
      for (const alone of await reference(subject)) {
        const output = both.find(({ name }) => name === alone.name);
        if (output?.shape[0] !== 2) throw new CheckFault(`output "${alone.name}" has not two rows`);
        expectSame(alone, { ...output, shape: alone.shape, values: output.values.slice(0, alone.values.length) });
      }
      return "";
    },
  },
  refusal("a body that is not JSON: 4xx", () => ({ body: Buffer.from('{"inputs":['), headers: {} })),
  refusal("data that does not fill its shape: 4xx", (subject) => {
    const [first, ...others] = subject.madeUp(1);
    if (!fitsJson(first!.datatype)) throw new NoOccasion(`${first!.datatype} is no JSON`);
    return inferRequest([{ ...first!, values: [...first!.values, first!.values[0] ?? 0] }, ...others]);
  }),
  refusal("an unknown datatype: 4xx", (subject) => {
    const inputs = subject.madeUp(1).map((tensor) => ({ ...tensor, datatype: "FP7" }));
    return inferRequest(inputs);
  }),
  refusal("no inputs: 4xx", () => ({ body: Buffer.from('{"inputs":[]}'), headers: {} })),
  refusal("an unknown output: 4xx", (subject) =>
    inferRequest(subject.madeUp(1), { outputs: [{ name: "no-such-output", binary: false }] }),
  ),
  binary("inputs as bytes, outputs as JSON", (subject) => ({ ...plainForm(subject), binaryIn: true })),
  binary("inputs as JSON, outputs as bytes", (subject) => ({ outputs: asked(subject, () => true) })),
  binary("inputs and outputs as bytes", (subject) => ({ binaryIn: true, outputs: asked(subject, () => true) })),
  binary("outputs as bytes and JSON, mixed", (subject) => {
    if (jsonOutputs(subject).length < 2) throw new NoOccasion("one output");
    return { binaryIn: true, outputs: asked(subject, (at) => at % 2 === 0) };
  }),
  {
    name: "a body without JSON",
    extension: BINARY,
    run: async (subject) => {
      const [input, ...others] = subject.madeUp(1);
      const isOneRow = subject.inputs[0]!.shape.slice(1).every((size) => size >= 0) && input!.datatype !== "BYTES";
      if (others.length > 0 || !isOneRow) throw new NoOccasion("not one input of known size");
      const request = { body: bytesOf(input!), headers: { [LENGTH_HEADER]: "0" } };
      const answer = await subject.endpoint.post(`${subject.path}/infer`, request);
      missingUnless200(answer);
      return same(subject, answer);
    },
  },
  ...[-1, 1].map((off): Check => ({
    name: `length of the JSON off by ${off}: 400`,
    extension: BINARY,
    run: async (subject) => {
      const request = await takenAsBytes(subject);
      const length = Number(request.headers[LENGTH_HEADER]) + off;
      return refusalOf(await post(subject, { ...request, headers: { [LENGTH_HEADER]: String(length) } }), 400);
    },
  })),
  {
    name: "bytes that are too few: 4xx",
    extension: BINARY,
    run: async (subject) => {
      const request = await takenAsBytes(subject);
      return refusalOf(await post(subject, { ...request, body: request.body.subarray(0, -1) }));
    },
  },
  ...Object.entries({ gzip, deflate }).map(([coding, compress]): Check => ({
    name: `a body in ${coding}`,
    extension: "",
    run: async (subject) => {
      const { body, headers } = inferRequest(subject.madeUp(1), plainForm(subject));
      const compressed = await promisify<Buffer, Buffer>(compress)(body);
      const answer = await post(subject, { body: compressed, headers: { ...headers, "content-encoding": coding } });
      missingUnless200(answer);
      return same(subject, answer);
    },
  })),
  ...Object.entries({ gzip: gunzip, deflate: inflate }).map(([coding, expand]): Check => ({
    name: `an answer in ${coding}`,
    extension: "",
    run: async (subject) => {
      // Many rows, since short answers need not be compressed.
      for (const rows of [64, 16, 4, 1]) {
        const { body, headers } = inferRequest(subject.madeUp(rows), plainForm(subject));
        const answer = await post(subject, { body, headers: { ...headers, "accept-encoding": coding } });
        if (answer.status !== 200) continue;
        if (answer.headers["content-encoding"] !== coding) throw new Missing("it comes as it is");
        const expanded = await promisify<Buffer, Buffer>(expand)(answer.body);
        outputsOf({ ...answer, body: expanded }, subject.model);
        return `${expanded.length} bytes in ${answer.body.length}`;
      }
      throw new CheckFault("no answer to asking for it");
    },
  })),
  {
    name: "classification",
    extension: "classification",
    run: async (subject) => {
      const isClassified = ({ datatype, shape }: CheckTensor): boolean =>
        /^(FP(32|64)|U?INT\d+)$/.test(datatype) && shape.length === 2 && elementCount(shape) > 0;
      const output = (await reference(subject)).find(isClassified);
      if (output === undefined) throw new NoOccasion("no output of one row of numbers");
      const answer = await ask(subject, { outputs: [{ name: output.name, binary: false, classification: 1 }] });
      missingUnless200(answer);
      const [top] = outputsOf(answer, subject.model);
      if (top?.datatype !== "BYTES") throw new Missing("what asks for it is passed over");
      const best = output.values.reduce<number>((at, value, index) => (value > output.values[at]! ? index : at), 0);
      const text = String(top.values[0]);
      if (text.split(":")[1] !== String(best))
        throw new CheckFault(`the highest is at ${best}, told is ${JSON.stringify(text)}`);
      return text;
    },
  },
  {
    name: "statistics count requests and rows",
    extension: "statistics",
    run: async (subject) => {
      const before = await counted(subject);
      await reference(subject);
      const untilMs = performance.now() + STATISTICS_MS;
      for (;;) {
        const now = await counted(subject);
        if (now.requests > before.requests && now.rows > before.rows)
          return `${now.requests} requests, ${now.rows} rows`;
        if (performance.now() > untilMs) throw new CheckFault(`no request more than ${before.requests} after one`);
        await sleep(POLL_MS);
      }
    },
  },
];

function post({ endpoint, path }: Subject, request: Request): Promise<Answer> {
  return endpoint.post(`${path}/infer`, request);
}

/** Asks for one row. */
function ask(subject: Subject, form: InferForm): Promise<Answer> {
  return post(subject, inferRequest(subject.madeUp(1), form));
}

/** A request with inputs as bytes that is answered, to be spoilt. @throws {Missing} where the server takes none. */
async function takenAsBytes(subject: Subject): Promise<Request> {
  const request = inferRequest(subject.madeUp(1), { ...plainForm(subject), binaryIn: true });
  missingUnless200(await post(subject, request));
  return request;
}

function jsonOutputs({ outputs }: Subject): Subject["outputs"] {
  return outputs.filter(({ datatype }) => fitsJson(datatype));
}

/** Every output in JSON; those that cannot go so are asked for as bytes. */
export function plainForm(subject: Subject): InferForm {
  return jsonOutputs(subject).length === subject.outputs.length ? {} : { outputs: asked(subject, () => false) };
}

function asked({ outputs }: Subject, isBinary: (at: number) => boolean): NonNullable<InferForm["outputs"]> {
  return outputs.map(({ name, datatype }, at) => ({ name, binary: !fitsJson(datatype) || isBinary(at) }));
}

/** The answer to one row in the plainest form, which all other forms are held against. */
async function reference(subject: Subject): Promise<ReturnType<typeof outputsOf>> {
  return outputsOf(await ask(subject, plainForm(subject)), subject.model);
}

/** @throws {CheckFault} unless the answer's outputs are those of the plainest form; `names` are those that were asked for. */
async function same(subject: Subject, answer: Answer, names?: readonly string[]): Promise<string> {
  const given = outputsOf(answer, subject.model);
  const wanted = (await reference(subject)).filter(({ name }) => names === undefined || names.includes(name));
  if (given.length !== wanted.length) throw new CheckFault(`${given.length} outputs, not ${wanted.length}`);
  for (const output of wanted)
    expectSame(
      output,
      given.find(({ name }) => name === output.name),
    );
  return "";
}

function expectSame(wanted: CheckTensor, given: CheckTensor | undefined): void {
  const isSameShape = given?.datatype === wanted.datatype && given.shape.join() === wanted.shape.join();
  if (!isSameShape) throw new CheckFault(`output "${wanted.name}" is ${given?.datatype}[${given?.shape.join(",")}]`);
  const at = wanted.values.findIndex((value, index) => !isSame(value, given.values[index]!));
  if (at >= 0) {
    throw new CheckFault(
      `output "${wanted.name}" has ${given.values[at]} at ${at}, in the plainest form ${wanted.values[at]}`,
    );
  }
}

/** A request that has to be refused, and in which words is its detail. */
function refusal(name: string, make: (subject: Subject) => Request): Check {
  return { name, run: async (subject) => refusalOf(await post(subject, make(subject))) };
}

function binary(name: string, form: (subject: Subject) => InferForm): Check {
  return {
    name,
    extension: BINARY,
    run: async (subject) => {
      const wanted = form(subject);
      const answer = await ask(subject, wanted);
      missingUnless200(answer);
      for (const { name, binary, values } of outputsOf(answer, subject.model)) {
        const asked = wanted.outputs?.find((output) => output.name === name)?.binary ?? false;
        if (asked === binary || values.length === 0) continue;
        if (asked) throw new Missing(`output "${name}" comes as JSON`);
        throw new CheckFault(`output "${name}" comes as bytes`);
      }
      return same(subject, answer);
    },
  };
}

async function counted({ endpoint, path }: Subject): Promise<{ readonly requests: number; readonly rows: number }> {
  const answer = await endpoint.get(`${path}/stats`);
  missingUnless200(answer);
  const { model_stats: all } = jsonOf(answer) as { readonly model_stats?: unknown };
  if (!Array.isArray(all)) throw new CheckFault("no model_stats");
  type Statistics = {
    readonly inference_count?: unknown;
    readonly inference_stats?: { readonly success?: { readonly count?: unknown } };
  };
  const sum = (read: (statistics: Statistics) => unknown): number =>
    all.reduce((total: number, statistics: Statistics) => total + Number(read(statistics)), 0);
  const counts = { requests: sum((of) => of.inference_stats?.success?.count), rows: sum((of) => of.inference_count) };
  if (Number.isNaN(counts.requests + counts.rows)) throw new CheckFault("no inference_count, or no success.count");
  return counts;
}
