import { request } from "node:http";

/** One model version in the gateway's repository index. `state` is the protocol's: READY, LOADING, UNAVAILABLE, … */
export type IndexEntry = {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly reason: string;
};

/** What the gateway says of a model's input; -1 in `shape` is a free dimension. */
export type InputMetadata = { readonly name: string; readonly datatype: string; readonly shape: readonly number[] };

const TIMEOUT_MS = 2_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** The status of `GET /v2/health/ready`; 0 where nobody answers. */
export async function probeHealth(url: string): Promise<number> {
  return (await exchange(`${url}/v2/health/ready`, "GET")).status;
}

/** The repository index; undefined where the gateway does not give it. */
export async function probeIndex(url: string): Promise<readonly IndexEntry[] | undefined> {
  const { status, body } = await exchange(`${url}/v2/repository/index`, "POST");
  if (status !== 200 || !Array.isArray(body)) return undefined;
  return body.flatMap((entry: unknown) => {
    const name = textOf(entry, "name");
    if (name === "") return [];
    return [
      { name, version: textOf(entry, "version"), state: textOf(entry, "state"), reason: textOf(entry, "reason") },
    ];
  });
}

/** The inputs that a model's default version needs; undefined where the gateway does not give them. */
export async function probeInputs(url: string, model: string): Promise<readonly InputMetadata[] | undefined> {
  const modelUrl = `${url}/v2/models/${encodeURIComponent(model)}`;
  const { status, body } = await exchange(modelUrl, "GET");
  const inputs = propertyOf(body, "inputs");
  if (status !== 200 || !Array.isArray(inputs)) return undefined;
  const configured = propertyOf((await exchange(`${modelUrl}/config`, "GET")).body, "input");
  const optional = (Array.isArray(configured) ? configured : []).filter((one) => propertyOf(one, "optional") === true);
  const needed = inputs.filter((input) => !optional.some((one) => textOf(one, "name") === textOf(input, "name")));
  return needed.map((input: unknown) => {
    const shape = propertyOf(input, "shape");
    return {
      name: textOf(input, "name"),
      datatype: textOf(input, "datatype"),
      shape: Array.isArray(shape) ? shape.map(Number) : [],
    };
  });
}

/** A property of a parsed JSON value, or undefined. */
export function propertyOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function textOf(value: unknown, key: string): string {
  const text = propertyOf(value, key);
  return typeof text === "string" ? text : "";
}

/** One exchange on a connection of its own, so that none is left open for a drain to wait for. Never rejects. */
function exchange(url: string, method: "GET" | "POST"): Promise<{ status: number; body: unknown }> {
  const { promise, resolve } = Promise.withResolvers<{ status: number; body: unknown }>();
  const nobody = (): void => resolve({ status: 0, body: undefined });
  const headers = method === "POST" ? { "content-type": "application/json" } : {};
  const outgoing = request(
    url,
    { method, agent: false, headers, signal: AbortSignal.timeout(TIMEOUT_MS) },
    (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.byteLength;
        if (bytes > ANSWER_BYTES_MAX) outgoing.destroy();
        else chunks.push(chunk);
      });
      response.on("error", nobody);
      response.on("close", nobody);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: parseJson(Buffer.concat(chunks)) }));
    },
  );
  outgoing.on("error", nobody);
  outgoing.end(method === "POST" ? "{}" : undefined);
  return promise;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
