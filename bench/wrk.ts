import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RequestFormName } from "../tests/support/request-form.ts";
import { RowIdentityChecker } from "../tests/support/row-identity.ts";
import type { RowPool } from "../tests/support/row-pool.ts";

/** What a run of wrk came to. Latencies in milliseconds. */
export type WrkReport = {
  readonly answers: number;
  readonly elapsedMs: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p999: number };
  /** Processor time of wrk itself, in milliseconds. */
  readonly cpuMs: number;
};

/** `core`: the number of the one that it stays on; default: where the kernel puts it. */
export type WrkOptions = {
  readonly connections: number;
  readonly durationMs: number;
  readonly core?: number | undefined;
};

/** The line that the script prints at the end of a run. Everything in it is an integer, times are in microseconds. */
const SUMMARY = /^millrace-bench (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$/m;

/**
 * Saturating load by wrk (https://github.com/wg/wrk), which needs a third of the processor time of our own checking
 * generator and so leaves the machine to what is measured. It checks statuses only: run a checked load beside it.
 */
export class WrkLoad implements AsyncDisposable {
  readonly #script: string;

  private constructor(script: string) {
    this.#script = script;
  }

  /** Prepares the requests, one row each, as many as the pool has rows, into `folder`. */
  static async prepare(
    folder: string,
    { pool, form }: { readonly pool: RowPool; readonly form: RequestFormName },
  ): Promise<WrkLoad> {
    const checker = new RowIdentityChecker({ pools: [pool], seed: 5, rowsMax: 1, form });
    const requests = Array.from({ length: pool.groups.flat().length }, () => checker.next());
    const bodies = requests.map(({ body }) => `  ${typeof body === "string" ? JSON.stringify(body) : luaBytes(body)},`);
    const heads = Object.entries(requests[0]?.headers ?? {}).map(([name, value]) => `["${name}"] = "${value}"`);
    const script = join(folder, `${pool.model}-${form}.lua`);
    await writeFile(
      script,
      [
        `local path = ${JSON.stringify(requests[0]?.path)}`,
        "local requests = {}",
        "local bodies = {",
        ...bodies,
        "}",
        "function init()",
        `  local headers = { ${['["Content-Type"] = "application/json"', ...heads].join(", ")} }`,
        '  for i, body in ipairs(bodies) do requests[i] = wrk.format("POST", path, headers, body) end',
        "end",
        "local sent = 0",
        "function request()",
        "  sent = sent % #requests + 1",
        "  return requests[sent]",
        "end",
        "function done(summary, latency)",
        "  local e = summary.errors",
        "  local failed = e.connect + e.read + e.write + e.status + e.timeout",
        '  print(string.format("millrace-bench %d %d %d %d %d %d %d", summary.requests, summary.duration, failed,',
        "    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), os.clock() * 1e6))",
        "end",
        "",
      ].join("\n"),
    );
    return new WrkLoad(script);
  }

  /** @throws Error unless every answer has a status of 2xx. */
  async run(url: string, options: WrkOptions): Promise<WrkReport> {
    const seconds = Math.max(1, Math.round(options.durationMs / 1000));
    const argv = [
      "--threads",
      "1",
      "--connections",
      String(options.connections),
      "--duration",
      `${seconds}s`,
      "--timeout",
      "30s",
    ];
    const place = options.core === undefined ? [] : ["taskset", "--cpu-list", String(options.core)];
    const [program, ...rest] = [...place, "wrk", ...argv, "--script", this.#script, url];
    const { stdout } = await run(program, rest);
    const numbers = SUMMARY.exec(stdout)?.slice(1).map(Number);
    if (numbers === undefined) throw new Error(`wrk says ${stdout}`);
    const [answers = 0, micros = 0, failed = 0, p50 = 0, p99 = 0, p999 = 0, cpu = 0] = numbers;
    if (failed > 0) throw new Error(`${failed} of ${answers} requests to ${url} failed: ${stdout}`);
    return {
      answers,
      elapsedMs: micros / 1000,
      latencyMs: { p50: p50 / 1000, p99: p99 / 1000, p999: p999 / 1000 },
      cpuMs: cpu / 1000,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#script, { force: true });
  }
}

/** Bytes as Lua writes them. */
function luaBytes(bytes: Uint8Array): string {
  return `"${Array.from(bytes, (byte) => `\\${String(byte).padStart(3, "0")}`).join("")}"`;
}

/** @throws Error that says what to install where there is no wrk. */
export async function assertWrk(): Promise<void> {
  await run("wrk", ["--version"]).catch((error: NodeJS.ErrnoException) => {
    // Its version is an unknown flag to it: it prints the version, and exits with 1.
    if (error.code === "ENOENT") throw new Error("wrk is missing: install the Debian package wrk");
  });
}

const run = promisify(execFile);
