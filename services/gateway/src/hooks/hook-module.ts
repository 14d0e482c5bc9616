import type { HookModule, TensorSpec } from "@millrace/hooks";
import { isDatatype } from "@millrace/protocol";
import { quote } from "../http/refusal.ts";

/** The hooks of one model, as its module exports them. */
export type Hooks = Pick<HookModule, "preprocess" | "postprocess" | "after" | "inputs" | "outputs"> & {
  /** How many threads run them; 0: the gateway's own. */
  readonly threads: number;
};

/** The hooks, by the names of their exports, in the order in which they run. */
export const HOOK_NAMES = ["preprocess", "postprocess", "after"] as const;
export type HookName = (typeof HOOK_NAMES)[number];

const THREADS_MAX = 64;

/** What a module exports, checked; or what is wrong with it, for its author. Pure. */
export function readHookModule(exported: Readonly<Record<string, unknown>>): Hooks | string {
  const known = new Set([...HOOK_NAMES, "inputs", "outputs", "options"]);
  const unknown = Object.keys(exported).find((name) => !known.has(name));
  if (unknown !== undefined) return `it exports ${quote(unknown)}, which is no hook`;
  const wrong = HOOK_NAMES.find((name) => exported[name] !== undefined && typeof exported[name] !== "function");
  if (wrong !== undefined) return `its ${wrong} is no function`;
  const { preprocess, postprocess, after } = exported as HookModule;
  if (preprocess === undefined && postprocess === undefined && after === undefined) {
    return `it exports none of ${HOOK_NAMES.join(", ")}`;
  }
  for (const [name, by] of [
    ["inputs", "preprocess"],
    ["outputs", "postprocess"],
  ] as const) {
    const specs = exported[name];
    if (specs === undefined) continue;
    const fault = exported[by] === undefined ? `they need a ${by} hook` : specsFault(specs);
    if (fault !== "") return `its ${name}: ${fault}`;
  }
  const threads = readThreads(exported["options"] ?? {});
  if (typeof threads === "string") return `its options: ${threads}`;
  const { inputs, outputs } = exported as HookModule;
  return {
    threads,
    ...(preprocess && { preprocess }),
    ...(postprocess && { postprocess }),
    ...(after && { after }),
    ...(inputs && { inputs: inputs.map(specOf) }),
    ...(outputs && { outputs: outputs.map(specOf) }),
  };
}

/** A copy without whatever else the author has put there: it goes to other threads, and must not change. */
function specOf({ name, datatype, shape }: TensorSpec): TensorSpec {
  return { name, datatype, shape: [...shape] };
}

function specsFault(specs: unknown): string {
  if (!Array.isArray(specs) || specs.length === 0) return "an array of {name, datatype, shape} is expected";
  for (const spec of specs as readonly Partial<TensorSpec>[]) {
    const { name, datatype, shape } = spec ?? {};
    if (typeof name !== "string" || name === "") return "a name is missing";
    if (!isDatatype(datatype)) return `${quote(name)} has no datatype that is known`;
    const isShape = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= -1);
    if (!isShape) return `the shape of ${quote(name)} must be an array of sizes, -1 for any`;
  }
  const names = (specs as readonly TensorSpec[]).map(({ name }) => name);
  return new Set(names).size === names.length ? "" : "two have the same name";
}

function readThreads(options: unknown): number | string {
  if (typeof options !== "object" || options === null) return "an object is expected";
  const unknown = Object.keys(options).find((key) => key !== "thread" && key !== "threads");
  if (unknown !== undefined) return `${quote(unknown)} is not known`;
  const { thread = false, threads = 1 } = options as NonNullable<HookModule["options"]>;
  if (typeof thread !== "boolean") return "thread must be true or false";
  if (!Number.isInteger(threads) || threads < 1 || threads > THREADS_MAX) return `threads must be 1 to ${THREADS_MAX}`;
  return thread ? threads : 0;
}
