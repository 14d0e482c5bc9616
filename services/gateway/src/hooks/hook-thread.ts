import { parentPort, workerData } from "node:worker_threads";
import { callHook, createContext } from "./hook-runner.ts";
import { loadHookModule } from "./hook-loader.ts";
import type { FromHookThread, HookThreadSetup, HookWork, ThreadError, ToHookThread } from "./hook-message.ts";

/** The program of a thread that runs a model's hooks: the same contract as on the gateway's own thread. */

const port = parentPort;
if (port === null) throw new Error("this is the program of a thread");
const hooks = await loadHookModule((workerData as HookThreadSetup).path);
if (typeof hooks === "string") throw new Error(hooks);

const calls = new Map<number, AbortController>();
const tell = (message: FromHookThread): void => port.postMessage(message);

const sinks = {
  log: (level, fields, text) => tell({ type: "log", level, fields, text }),
  count: (event, times) => tell({ type: "count", event, times }),
} satisfies Parameters<typeof createContext>[1];

port.on("message", (message: ToHookThread) => {
  if (message.type === "run") return void run(message);
  calls.get(message.id)?.abort(new DOMException("nobody waits for this hook any longer", "AbortError"));
  return tell({ type: "aborted", id: message.id });
});

async function run(message: ToHookThread & { type: "run" }): Promise<void> {
  const { id, work, model, requestId, remainingMs, state } = message;
  const controller = new AbortController();
  calls.set(id, controller);
  try {
    const scope = { model, requestId, signal: controller.signal, deadlineMs: performance.now() + remainingMs, state };
    const result = await callHook(hooks as Exclude<typeof hooks, string>, revive(work), createContext(scope, sinks));
    // What cannot be copied is the hook's fault, and throws here.
    tell({ type: "done", id, result, state });
  } catch (error) {
    tell({ type: "failed", id, error: toThreadError(error) });
  } finally {
    calls.delete(id);
  }
}

/** Buffers become plain byte arrays on their way. */
function revive(work: HookWork): HookWork {
  const sets = work.hook === "preprocess" ? [work.given.inputs] : [work.given.outputs, work.given.request.inputs];
  for (const tensor of sets.flatMap((tensors) => Object.values(tensors))) {
    if (tensor.datatype !== "BYTES") continue;
    const elements = tensor.data as Buffer[];
    for (const [i, { buffer, byteOffset, byteLength }] of elements.entries()) {
      elements[i] = Buffer.from(buffer, byteOffset, byteLength);
    }
  }
  return work;
}

function toThreadError(error: unknown): ThreadError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: "" };
  return { name: error.name, message: error.message, stack: error.stack ?? "" };
}
