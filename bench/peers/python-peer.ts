import { existsSync } from "node:fs";
import { join } from "node:path";
import { CommandProcess } from "../../tests/support/command-process.ts";
import { ROOT } from "../../tests/support/repository.ts";
import type { RequestFormName } from "../../tests/support/request-form.ts";
import { temporaryFolder } from "../../tests/support/temporary-folder.ts";
import { freePort } from "../../tests/support/free-port.ts";
import type { ServedModel, Side, SideRow } from "../side.ts";

/** A Python server, by how it is started. */
export type PythonPeer = {
  readonly name: string;
  /** Its environment under `.cache/peers`. */
  readonly environment: string;
  readonly form?: RequestFormName;
  readonly settings: string;
  readonly advice: string;
  readonly isRestless?: boolean;
  /** Processes that run the model; default 1. */
  readonly workers?: number;
  /**
   * The program, of its environment's `bin`, its arguments, and what it needs beside MODEL_FILE, PORT and WORKERS in its environment.
   * `folder` is a folder of its own.
   */
  command(where: {
    readonly port: number;
    readonly folder: string;
    readonly model: ServedModel;
  }): Promise<{ readonly argv: readonly [string, ...string[]]; readonly env?: Readonly<Record<string, string>> }>;
};

const PEERS = import.meta.dirname;
/** As many rows as a batch of Millrace has by default. */
export const BATCH_ROWS_MAX = 128;

const READY_TIMEOUT_MS = 90_000;
const POLL_MS = 100;

/** The row of a Python server in the table of sides. */
export function pythonSide(peer: PythonPeer): SideRow {
  const { name, environment, form = "plain", isRestless = false, settings, advice } = peer;
  const bin = join(ROOT, ".cache", "peers", environment, "bin");
  return {
    name,
    form,
    isTimed: false,
    isRestless,
    settings,
    advice,
    missing: () => (existsSync(join(bin, "python")) ? "" : "not installed: make bench-peers"),
    start: (model) => start(peer, model, bin),
  };
}

async function start(peer: PythonPeer, model: ServedModel, bin: string): Promise<Side> {
  const stack = new AsyncDisposableStack();
  try {
    const { path: folder } = stack.use(await temporaryFolder());
    const port = await freePort();
    const { argv, env } = await peer.command({ port, folder, model });
    const [program, ...args] = argv;
    const process = stack.use(
      new CommandProcess({
        argv: [join(bin, program), ...args],
        env: {
          MODEL_FILE: model.file,
          PORT: String(port),
          WORKERS: String(peer.workers ?? 1),
          BATCH_ROWS_MAX: String(BATCH_ROWS_MAX),
          PYTHONPATH: PEERS,
          PYTHONDONTWRITEBYTECODE: "1",
          // One thread for the model; numpy's own would only wait.
          OMP_NUM_THREADS: "1",
          OPENBLAS_NUM_THREADS: "1",
          ...env,
        },
      }),
    );
    const url = `http://127.0.0.1:${port}`;
    await awaitListening(url, process);
    return {
      urls: [url],
      processes: () => process.tree(),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** Waits for any answer below 500 or of a path that is not there. @throws Error with the end of its log. */
async function awaitListening(url: string, process: CommandProcess): Promise<void> {
  const untilMs = performance.now() + READY_TIMEOUT_MS;
  let exit: string | undefined;
  void process.exited.then(({ code, signal }) => (exit = `it ended with ${signal ?? code}`));
  for (;;) {
    const isThere = await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(2_000) }).then(
      ({ status }) => status < 500,
      () => false,
    );
    if (isThere) return;
    const reason =
      exit ?? (performance.now() > untilMs ? `it does not listen after ${READY_TIMEOUT_MS} ms` : undefined);
    if (reason !== undefined) throw new Error(`${reason}\n${process.log.tail()}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
