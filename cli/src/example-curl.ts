import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type InputMetadata, probeIndex, probeInputs, propertyOf } from "./gateway-probe.ts";

/** A body longer than this many characters goes into a file instead of the command line. */
const INLINE_CHARACTERS_MAX = 1_500;
/** No example is made for an input of more elements than this. */
const ELEMENTS_MAX = 4_000_000;

/**
 * A `curl` command that asks the first ready model something valid and works as printed in the current directory: with
 * an example file of the model where `exampleFolders` have one (`<folder>/<model>/*.json`), else with zeros.
 * Undefined where no model is ready or none can be asked in JSON. A body that is long is written to a temporary file.
 */
export async function makeExampleCurl(url: string, exampleFolders: readonly string[]): Promise<string | undefined> {
  for (const { name, state } of (await probeIndex(url)) ?? []) {
    if (state !== "READY") continue;
    const inputs = await probeInputs(url, name);
    if (inputs === undefined) continue;
    const inferUrl = `${url}/v2/models/${encodeURIComponent(name)}/infer`;
    const file = await findExampleFile({ model: name, inputs, folders: exampleFolders });
    if (file !== undefined) return toCurl(inferUrl, `@${toShortPath(file)}`);
    const body = makeZeroBody(inputs);
    if (body === undefined) continue;
    if (body.length <= INLINE_CHARACTERS_MAX) return toCurl(inferUrl, body);
    const folder = await mkdtemp(join(tmpdir(), "millrace-example-"));
    const written = join(folder, "request.json");
    await writeFile(written, body);
    return toCurl(inferUrl, `@${written}`);
  }
  return undefined;
}

/**
 * The JSON body of an inference request with zeros, `false` or empty strings: one row, and 1 for each free dimension.
 * Undefined where JSON cannot carry a datatype (FP16, BF16) or the input is huge.
 */
export function makeZeroBody(inputs: readonly InputMetadata[]): string | undefined {
  const tensors: object[] = [];
  for (const { name, datatype, shape } of inputs) {
    const concrete = shape.map((size) => (size < 0 ? 1 : size));
    const elements = concrete.reduce((product, size) => product * size, 1);
    if (elements > ELEMENTS_MAX || datatype === "FP16" || datatype === "BF16") return undefined;
    const zero = datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0;
    tensors.push({ name, shape: concrete, datatype, data: Array.from({ length: elements }, () => zero) });
  }
  return JSON.stringify({ inputs: tensors });
}

/** Whether a parsed file is an inference request for a model with these inputs. */
export function fitsModel(body: unknown, inputs: readonly InputMetadata[]): boolean {
  const given = propertyOf(body, "inputs");
  if (!Array.isArray(given) || given.length === 0) return false;
  const known = new Set(inputs.map((input) => input.name));
  return given.every((tensor: unknown) => {
    const name = propertyOf(tensor, "name");
    return typeof name === "string" && known.has(name);
  });
}

/** Quotes an argument for a POSIX shell where it needs it. */
export function quoteForShell(argument: string): string {
  if (/^[\w@%+=:,./-]+$/.test(argument)) return argument;
  return `'${argument.replaceAll("'", `'\\''`)}'`;
}

function toCurl(url: string, data: string): string {
  return `curl -s ${quoteForShell(url)} -d ${quoteForShell(data)}`;
}

async function findExampleFile(options: {
  readonly model: string;
  readonly inputs: readonly InputMetadata[];
  readonly folders: readonly string[];
}): Promise<string | undefined> {
  for (const examples of options.folders) {
    const folder = join(examples, options.model);
    // No such folder is the usual case: most models have no examples.
    const names = await readdir(folder).catch(() => []);
    for (const name of names.filter((entry) => entry.endsWith(".json")).toSorted()) {
      const file = join(folder, name);
      if (await isExample(file, options.inputs)) return file;
    }
  }
  return undefined;
}

async function isExample(file: string, inputs: readonly InputMetadata[]): Promise<boolean> {
  try {
    return fitsModel(JSON.parse(await readFile(file, "utf8")), inputs);
  } catch {
    return false;
  }
}

/** Relative to the current directory where that is not longer. */
function toShortPath(file: string): string {
  const local = relative(process.cwd(), file);
  return local.length <= file.length ? local : file;
}
