import { InferenceError } from "./inference-error.ts";
import { RetryPolicy, retryAfterMs } from "./retry-policy.ts";

/** Longest time of a call that names none, attempts and waits together, in milliseconds. */
const TIMEOUT_MS = 60_000;

export type HttpCall = {
  readonly method: "GET" | "POST";
  /** After the base URL; starts with a slash. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** For the whole call, and told to the server; undefined: a minute, and the server has its own. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Whether it may be sent again. */
  readonly retries: boolean;
};

export type HttpAnswer = { readonly status: number; readonly headers: Headers; readonly body: ArrayBuffer };

/** Sends calls to one server, again where that helps. */
export class HttpCaller {
  readonly #base: string;
  readonly #policy: RetryPolicy;
  readonly #fetch: typeof fetch;

  constructor(base: string, options: { readonly retries: number; readonly fetch: typeof fetch }) {
    this.#base = base.replace(/\/+$/, "");
    this.#policy = new RetryPolicy(options.retries);
    this.#fetch = options.fetch;
  }

  /**
   * Sends it until there is an answer that counts.
   *
   * @throws {InferenceError} for every answer but 200, `client_timeout`, and `network_error`.
   * @throws the signal's reason once it is aborted.
   */
  async send(call: HttpCall): Promise<HttpAnswer> {
    const untilMs = performance.now() + (call.timeoutMs ?? TIMEOUT_MS);
    for (let attempts = 1; ; attempts++) {
      const answer = await this.#attempt(call, untilMs);
      if (answer.status === 200) {
        this.#policy.succeeded();
        return answer;
      }
      const error = errorOf(answer);
      const leftMs = untilMs - performance.now();
      const refusal = { status: answer.status, attempts, retryAfterMs: error.retryAfterMs, leftMs };
      const waitMs = call.retries ? this.#policy.waitMs(refusal, Math.random()) : undefined;
      if (waitMs === undefined) throw error;
      await pause(waitMs, call.signal);
    }
  }

  async #attempt(call: HttpCall, untilMs: number): Promise<HttpAnswer> {
    const { method, path, body, signal, timeoutMs } = call;
    signal?.throwIfAborted();
    const leftMs = Math.max(1, Math.ceil(untilMs - performance.now()));
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    signal?.addEventListener("abort", abort);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      controller.abort();
    }, leftMs);
    const headers = timeoutMs === undefined ? call.headers : { ...call.headers, "x-request-timeout-ms": `${leftMs}` };
    try {
      const fetched = this.#fetch;
      const response = await fetched(this.#base + path, {
        method,
        headers,
        signal: controller.signal,
        ...(body === undefined ? {} : { body }),
      });
      return { status: response.status, headers: response.headers, body: await response.arrayBuffer() };
    } catch (cause) {
      signal?.throwIfAborted();
      if (late) throw new InferenceError("the call's time has passed", { code: "client_timeout", status: 0, cause });
      const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
      throw new InferenceError(`no answer from ${this.#base}: ${why}`, { code: "network_error", status: 0, cause });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

function errorOf({ status, headers, body }: HttpAnswer): InferenceError {
  const text = new TextDecoder().decode(body);
  let told: { readonly error?: unknown; readonly code?: unknown } = {};
  try {
    told = (JSON.parse(text) as typeof told | null) ?? {};
  } catch {
    // A proxy's page, say.
  }
  const message = typeof told.error === "string" ? told.error : `status ${status}: ${text.slice(0, 200)}`;
  return new InferenceError(message, {
    code: typeof told.code === "string" ? told.code : "http_error",
    status,
    requestId: headers.get("x-request-id") ?? undefined,
    retryAfterMs: retryAfterMs(headers.get("retry-after"), Date.now()),
  });
}

/** Waits; rejects with the signal's reason as soon as it is aborted. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      signal?.removeEventListener("abort", abort);
      resolve();
    };
    const timer = setTimeout(end, ms);
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}
