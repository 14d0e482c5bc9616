import type { ModelConfig, ModelMetadata, ModelStatistics, RepositoryEntry, ServerMetadata } from "./answers.ts";
import { type HttpAnswer, HttpCaller } from "./http-call.ts";
import { InferenceError, invalidAnswer } from "./inference-error.ts";
import { encodeRequest } from "./request-body.ts";
import { decodeResponse } from "./response-body.ts";
import type { Tensor } from "./tensor.ts";

const LENGTH_HEADER = "inference-header-content-length";
/** Most retries of one call. */
const RETRIES = 2;

export type ClientOptions = {
  /** Sent with every request, e.g. `{ authorization: "Bearer …" }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of calls that name none, see there. */
  readonly timeoutMs?: number;
  /** The most retries of a call that was answered 429 or 503; default 2, 0 for none. */
  readonly retries?: number;
  /** In place of the platform's. */
  readonly fetch?: typeof fetch;
};

export type CallOptions = {
  /**
   * Bound on the whole call, attempts and waits between them together, in milliseconds. The server is told what is left of it and
   * does not begin what would come too late. Default: a minute, and the server's own.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
};

/** An output by its name, or its K highest elements of each row as texts `value:index`. */
export type RequestedOutput = string | { readonly name: string; readonly classification: number };

export type InferOptions = CallOptions & {
  readonly version?: string;
  /** Which, in which order; default all. */
  readonly outputs?: readonly RequestedOutput[];
  /** Appears in the answer, and in the server's log. */
  readonly requestId?: string;
  /** 1 is the highest; what the numbers mean is the server's. */
  readonly priority?: number;
  /** `json` for servers without the binary extension; it is slower, and carries neither NaN nor FP16. Default `binary`. */
  readonly form?: "binary" | "json";
};

/** `requestId` is the server's for the request; `serverTiming` what it tells of the time, if it does. */
export type InferResult = {
  readonly modelName: string;
  readonly modelVersion: string | undefined;
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly requestId: string | undefined;
  readonly serverTiming: string | undefined;
};

/**
 * A client of one server that speaks the Open Inference Protocol V2 over HTTP. It holds no connection of its own (the platform's
 * fetch does), so there is nothing to close. Calls may be made at the same time.
 *
 * Every call rejects with an {@link InferenceError}, or the reason of its signal.
 */
export class InferenceClient {
  readonly #caller: HttpCaller;
  readonly #options: ClientOptions;

  /** @param url base of the server, e.g. `http://127.0.0.1:8000`; a path is kept. */
  constructor(url: string, options: ClientOptions = {}) {
    if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
      throw new Error("tensors are little-endian, this platform is not");
    this.#caller = new HttpCaller(new URL(url).href, {
      retries: options.retries ?? RETRIES,
      fetch: options.fetch ?? ((...args) => fetch(...args)),
    });
    this.#options = options;
  }

  /**
   * Runs a model. Inputs are copied once, into the body; outputs are views of the answer where they are aligned.
   *
   * @throws {RangeError} and {TypeError}, before anything is sent, for data that does not fit its shape, datatype or form.
   * @throws {InferenceError} in all other cases.
   */
  async infer(
    model: string,
    inputs: Readonly<Record<string, Tensor>>,
    options: InferOptions = {},
  ): Promise<InferResult> {
    const { form = "binary", outputs, requestId, priority, version } = options;
    const binary = form === "binary";
    const { bytes, jsonBytes } = encodeRequest(
      inputs,
      {
        ...(requestId === undefined ? {} : { id: requestId }),
        ...(outputs === undefined ? {} : { outputs: outputs.map((output) => requested(output, binary)) }),
        parameters: { binary_data_output: binary, ...(priority === undefined ? {} : { priority }) },
      },
      form,
    );
    const answer = await this.#send(`${modelPath(model, version)}/infer`, options, {
      body: bytes,
      headers: {
        "content-type": binary ? "application/octet-stream" : "application/json",
        ...(jsonBytes === undefined ? {} : { [LENGTH_HEADER]: String(jsonBytes) }),
        ...(requestId === undefined ? {} : { "x-request-id": requestId }),
      },
    });
    const length = answer.headers.get(LENGTH_HEADER);
    const { id, ...decoded } = decodeResponse(answer.body, length === null ? undefined : Number(length));
    return {
      ...decoded,
      requestId: answer.headers.get("x-request-id") ?? id,
      serverTiming: answer.headers.get("server-timing") ?? undefined,
    };
  }

  /** Whether the process lives; false for every answer but 200. */
  isServerLive(options?: CallOptions): Promise<boolean> {
    return this.#is("/v2/health/live", options);
  }

  /** Whether it can serve. */
  isServerReady(options?: CallOptions): Promise<boolean> {
    return this.#is("/v2/health/ready", options);
  }

  /** Whether a model, or a version of it, can serve; false if it is not there. */
  isModelReady(model: string, version?: string, options?: CallOptions): Promise<boolean> {
    return this.#is(`${modelPath(model, version)}/ready`, options);
  }

  serverMetadata(options?: CallOptions): Promise<ServerMetadata> {
    return this.#json("/v2", options);
  }

  modelMetadata(model: string, version?: string, options?: CallOptions): Promise<ModelMetadata> {
    return this.#json(modelPath(model, version), options);
  }

  modelConfig(model: string, version?: string, options?: CallOptions): Promise<ModelConfig> {
    return this.#json(`${modelPath(model, version)}/config`, options);
  }

  /** Statistics of all models, of one, or of one version. */
  async statistics(model?: string, version?: string, options?: CallOptions): Promise<readonly ModelStatistics[]> {
    const path = model === undefined ? "/v2/models/stats" : `${modelPath(model, version)}/stats`;
    return (await this.#json<{ readonly model_stats: readonly ModelStatistics[] }>(path, options)).model_stats;
  }

  /** Every version of every model, with its state. */
  async repositoryIndex(options: CallOptions = {}): Promise<readonly RepositoryEntry[]> {
    const body = new TextEncoder().encode("{}");
    const answer = await this.#send("/v2/repository/index", options, { body, headers: {} });
    return jsonOf(answer) as readonly RepositoryEntry[];
  }

  async #json<Answer>(path: string, options: CallOptions = {}): Promise<Answer> {
    return jsonOf(await this.#send(path, options, { headers: {} })) as Answer;
  }

  /** Not sent again: who asks for the state wants it as it is. */
  async #is(path: string, options: CallOptions = {}): Promise<boolean> {
    try {
      await this.#send(path, options, { headers: {}, retries: false });
      return true;
    } catch (error) {
      if (error instanceof InferenceError && error.status !== 0) return false;
      throw error;
    }
  }

  #send(path: string, options: CallOptions, sent: SentParts): Promise<HttpAnswer> {
    const { body, headers, retries = true } = sent;
    return this.#caller.send({
      method: body === undefined ? "GET" : "POST",
      path,
      headers: { ...this.#options.headers, ...options.headers, ...headers },
      ...(body === undefined ? {} : { body }),
      timeoutMs: options.timeoutMs ?? this.#options.timeoutMs,
      signal: options.signal,
      retries,
    });
  }
}

type SentParts = {
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly retries?: boolean;
};

function modelPath(model: string, version: string | undefined): string {
  const path = `/v2/models/${encodeURIComponent(model)}`;
  return version === undefined ? path : `${path}/versions/${encodeURIComponent(version)}`;
}

function requested(output: RequestedOutput, binary: boolean): object {
  if (typeof output === "string") return { name: output, parameters: { binary_data: binary } };
  return { name: output.name, parameters: { binary_data: binary, classification: output.classification } };
}

function jsonOf({ body }: HttpAnswer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw invalidAnswer("the answer is not JSON");
  }
}
