import type { Datatype } from "@millrace/protocol";

/** One tensor of a request or an answer, as JSON has it, but for its name. */
export type Elements = {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: readonly unknown[];
};

/** Tensors by name, in the order in which they are sent. */
export type Tensors = Readonly<Record<string, Elements>>;

export function elements(datatype: Datatype, shape: readonly number[], data: readonly unknown[]): Elements {
  return { datatype, shape, data };
}

/** The body of a request of the Open Inference Protocol. */
export function requestOf(inputs: Tensors): { readonly inputs: readonly object[] } {
  return { inputs: Object.entries(inputs).map(([name, tensor]) => ({ name, ...tensor })) };
}

/** An HTTP answer, read to its end. */
export type Answer = { readonly status: number; readonly headers: Headers; readonly text: string };

/** An answer of a server that does not answer at all fails the test instead of holding it. */
const ANSWER_TIMEOUT_MS = 20_000;

/** Sends a POST with a body that is JSON already or becomes it. */
export async function post(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return read(
    await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    }),
  );
}

export async function get(url: string): Promise<Answer> {
  return read(await fetch(url, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) }));
}

/** Asks a model, `name` or `name/versions/N`, and gives its outputs. @throws Error for every status but 200. */
export async function infer(url: string, model: string, inputs: Tensors): Promise<Tensors> {
  const { status, text } = await post(`${url}/v2/models/${model}/infer`, requestOf(inputs));
  if (status !== 200) throw new Error(`${model}: ${status} ${text}`);
  const { outputs } = JSON.parse(text) as { readonly outputs: readonly (Elements & { readonly name: string })[] };
  return Object.fromEntries(outputs.map(({ name, ...tensor }) => [name, tensor]));
}

async function read(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, text: await response.text() };
}
