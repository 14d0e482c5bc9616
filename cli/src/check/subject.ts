import type { Endpoint } from "./endpoint.ts";
import { type Answer, CheckFault, excerpt, expectStatus, jsonOf } from "./messages.ts";
import { type CheckTensor, makeUpInputs, type TensorMetadata } from "./tensors.ts";

/** What is checked: a model of a server, with inputs that were made up for it. */
export type Subject = {
  readonly endpoint: Endpoint;
  readonly model: string;
  /** `/v2/models/MODEL`. */
  readonly path: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  /** What `GET /v2` lists. */
  readonly extensions: readonly string[];
  /** Inputs with so many rows, where the first dimension is open. */
  readonly madeUp: (rows: number) => CheckTensor[];
};

/**
 * One line of the list. `run` gives what is to be said of it, or throws {@link CheckFault} or {@link Missing}. A feature that may be
 * missing names the extension that promises it, or "": none does.
 */
export type Check = {
  readonly name: string;
  readonly extension?: string;
  readonly run: (subject: Subject) => Promise<string>;
};

/** A feature that the server says it does not have, or that this model gives no occasion for. */
export class Missing extends Error {}

/** This model cannot show it; nothing is wrong. */
export class NoOccasion extends Missing {}

/** What `GET /v2` and the model's metadata say, which everything else needs. @throws {CheckFault} */
export async function findSubject(
  endpoint: Endpoint,
  ask: { readonly model: string; readonly size: number; readonly shapes: ReadonlyMap<string, readonly number[]> },
): Promise<Subject> {
  const server = await endpoint.get("/v2");
  expectStatus(server, 200);
  const { extensions } = jsonOf(server) as { readonly extensions?: unknown };
  const model = ask.model === "" ? await onlyModel(endpoint) : ask.model;
  const path = `/v2/models/${encodeURIComponent(model)}`;
  const answer = await endpoint.get(path);
  expectStatus(answer, 200);
  const { inputs, outputs } = jsonOf(answer) as { readonly inputs?: unknown; readonly outputs?: unknown };
  const read = (list: unknown, what: string): TensorMetadata[] => {
    const isRight = (item: Partial<TensorMetadata> | null): boolean =>
      typeof item?.name === "string" && typeof item.datatype === "string" && Array.isArray(item.shape);
    if (!Array.isArray(list) || !list.every(isRight)) throw new CheckFault(`the metadata of "${model}" has no ${what}`);
    return list as TensorMetadata[];
  };
  const needed = read(inputs, "inputs");
  if (needed.length === 0)
    throw new CheckFault(`the metadata of "${model}" names no inputs: nothing can be made up for it`);
  const unknown = [...ask.shapes.keys()].find((name) => !needed.some((input) => input.name === name));
  if (unknown !== undefined)
    throw new CheckFault(`--shape: no input "${unknown}"; there are ${needed.map(({ name }) => name).join(", ")}`);
  return {
    endpoint,
    model,
    path,
    inputs: needed,
    outputs: read(outputs, "outputs"),
    extensions: Array.isArray(extensions) ? extensions.map(String) : [],
    madeUp: (rows) => makeUpInputs(needed, { rows, size: ask.size, shapes: ask.shapes }),
  };
}

async function onlyModel(endpoint: Endpoint): Promise<string> {
  const answer = await endpoint.post("/v2/repository/index", { body: Buffer.from("{}"), headers: {} });
  const index = answer.status === 200 ? jsonOf(answer) : [];
  const names = new Set(Array.isArray(index) ? index.map(({ name }: { readonly name?: unknown }) => String(name)) : []);
  if (names.size === 1) return [...names][0]!;
  throw new CheckFault(`which model? --model NAME${names.size === 0 ? "" : `; there are ${[...names].join(", ")}`}`);
}

/** @throws {Missing} for every other status: a server that does not have a feature may say so in its own way. */
export function missingUnless200({ status, body }: Answer): void {
  if (status !== 200) throw new Missing(`status ${status}: ${excerpt(body)}`);
}
