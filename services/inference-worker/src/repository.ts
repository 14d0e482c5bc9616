import { createHash } from "node:crypto";
import { lstat, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareVersions } from "@millrace/protocol";
import { OptionError } from "@millrace/runtime";
import { DEFAULT_MANIFEST, type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import type { ModelSource } from "./runner.ts";

/** Letters, digits, dot, underscore and hyphen, at most 128 of them: safe in URLs, labels and logs. */
const NAME_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Version directories are decimal numbers; 18 digits hold any timestamp. */
const VERSION_PATTERN = /^[0-9]{1,18}$/;

/** The version of a model file that stands outside a version directory. */
const BARE_VERSION = "1";

const ONNX_SUFFIX = ".onnx";

const NOWHERE = "is a link that leads nowhere";

/** One version of a model, as its files are found. Loading may still fail: a file that is not ONNX is found all the same. */
export type RepositoryModel = {
  readonly name: string;
  /** A decimal number without leading zeros. */
  readonly version: string;
  /** Where it is, relative to the models folder; for messages. */
  readonly path: string;
  readonly manifest: Manifest;
  /** SHA-256 of the model file, lower-case hex; "" where there is none. */
  readonly digest: string;
} & (
  | { readonly state: "found"; readonly source: ModelSource }
  /** It cannot serve; the reason is written for the model's owner. */
  | { readonly state: "failed"; readonly reason: string }
);

/** A place where a version is; `fault` tells why it cannot be listed. */
type Candidate = {
  readonly version: string;
  readonly path: string;
  readonly onnx: readonly string[];
  readonly fault: string;
};

/** The names in a folder; `broken`: why it cannot be told what they are, such as links that lead nowhere. */
type Listing = {
  readonly files: readonly string[];
  readonly folders: readonly string[];
  readonly broken: ReadonlyMap<string, string>;
};

/** A model as far as it is known when it turns out that it cannot serve. */
type Place = { readonly name: string; readonly path: string; readonly version?: string; readonly manifest?: Manifest };

/**
 * All models of a folder, sorted by name and version: `<name>/<version>/model.onnx`, and without a version directory
 * `<name>/model.onnx` and `<name>.onnx` (version 1). Where `model.onnx` is asked for, a folder's only `*.onnx` file of another
 * name does too. Entries that start with a dot are ignored; links are followed wherever they lead. Reads every model file
 * once, for its digest; holds none in memory.
 *
 * What cannot serve is in the list with state `failed`.
 * @throws {OptionError} when the folder itself cannot be read.
 */
export async function scanRepository(modelsDir: string): Promise<RepositoryModel[]> {
  let listing: Listing;
  try {
    listing = await list(modelsDir);
  } catch (error) {
    throw new OptionError(`--models ${modelsDir} cannot be read: ${describeFileError(error)}`);
  }
  const models: RepositoryModel[] = [];
  for (const file of listing.files.filter(isOnnx)) {
    const name = file.slice(0, -ONNX_SUFFIX.length);
    const candidate = { version: BARE_VERSION, path: file, onnx: [file], fault: "" };
    models.push(await resolveModel({ modelsDir, name, manifest: DEFAULT_MANIFEST, candidate, folder: "" }));
  }
  for (const name of listing.folders) models.push(...(await scanModel(modelsDir, name)));
  for (const [path, reason] of listing.broken) {
    models.push(failed({ name: path.replace(/\.onnx$/, ""), path }, reason));
  }
  return markDuplicates(models).toSorted((a, b) => compare(a.name, b.name) || compareVersions(a.version, b.version));
}

async function scanModel(modelsDir: string, name: string): Promise<RepositoryModel[]> {
  let candidates: Candidate[];
  try {
    candidates = await findCandidates(modelsDir, name);
  } catch (error) {
    return [failed({ name, path: name }, `cannot be read: ${describeFileError(error)}`)];
  }
  let manifest: Manifest;
  try {
    manifest = await readManifest(join(modelsDir, name));
  } catch (error) {
    const reason = `${name}/${MANIFEST_FILE}: ${error instanceof Error ? error.message : String(error)}`;
    if (candidates.length === 0) return [failed({ name, path: name }, reason)];
    return candidates.map(({ version, path }) => failed({ name, path, version }, reason));
  }
  if (candidates.length === 0) {
    if (manifest.simulated === undefined) {
      const reason = `no model file: neither ${name}/<version>/model.onnx nor ${name}/model.onnx exists`;
      return [failed({ name, path: name, manifest }, reason)];
    }
    candidates.push({ version: BARE_VERSION, path: name, onnx: [], fault: "" });
  }
  const models: RepositoryModel[] = [];
  for (const candidate of candidates) {
    models.push(await resolveModel({ modelsDir, name, manifest, candidate, folder: name }));
  }
  return models;
}

/** The versions in a model's folder: its version directories, and model files right in it. */
async function findCandidates(modelsDir: string, name: string): Promise<Candidate[]> {
  const dir = join(modelsDir, name);
  const { files, folders, broken } = await list(dir);
  const candidates: Candidate[] = [];
  const bare = [...files, ...broken.keys()].filter(isOnnx);
  if (bare.length > 0) candidates.push({ version: BARE_VERSION, path: name, onnx: bare, fault: "" });
  for (const folder of folders.filter((folder) => VERSION_PATTERN.test(folder))) {
    const place = { version: BigInt(folder).toString(), path: `${name}/${folder}` };
    try {
      const inside = await list(join(dir, folder));
      candidates.push({ ...place, onnx: [...inside.files, ...inside.broken.keys()].filter(isOnnx), fault: "" });
    } catch (error) {
      candidates.push({ ...place, onnx: [], fault: `cannot be read: ${describeFileError(error)}` });
    }
  }
  for (const [version, fault] of broken) {
    if (VERSION_PATTERN.test(version))
      candidates.push({ version: BigInt(version).toString(), path: `${name}/${version}`, onnx: [], fault });
  }
  return candidates;
}

type Resolvable = {
  readonly modelsDir: string;
  readonly name: string;
  readonly manifest: Manifest;
  readonly candidate: Candidate;
  /** The model's folder inside the models folder; "" for a bare file, whose path is already the file's. */
  readonly folder: string;
};

/** One version: its file chosen, its digests checked. */
async function resolveModel({ modelsDir, name, manifest, candidate, folder }: Resolvable): Promise<RepositoryModel> {
  const { version, path, onnx } = candidate;
  const fail = (reason: string) => failed({ name, path, version, manifest }, reason);
  if (candidate.fault !== "") return fail(candidate.fault);
  if (!NAME_PATTERN.test(name)) {
    return fail(
      "its name may hold letters, digits, dots, underscores and hyphens only, at most 128 of them and no hyphen first",
    );
  }
  const file = onnx.includes("model.onnx") ? "model.onnx" : onnx[0];
  if (manifest.simulated === undefined) {
    if (file === undefined) return fail(`no model file: ${path}/model.onnx does not exist`);
    if (file !== "model.onnx" && onnx.length > 1) {
      return fail(`which file is the model? ${path} holds ${onnx.join(", ")}, and none of them is model.onnx`);
    }
  }
  try {
    const reason = await checkFiles(join(modelsDir, folder), path.slice(folder.length + 1), manifest);
    if (reason !== "") return fail(reason);
    const found = { name, version, path, manifest, state: "found" } as const;
    if (manifest.simulated !== undefined) {
      return { ...found, digest: "", source: { platform: "simulated", device: manifest.simulated } };
    }
    const modelPath = folder === "" ? join(modelsDir, path) : join(modelsDir, path, file ?? "");
    const source = { platform: "onnxruntime_onnx", path: modelPath, options: manifest.onnxruntime } as const;
    return { ...found, digest: await sha256Of(modelPath), source };
  } catch (error) {
    return fail(`cannot be read: ${describeFileError(error)}`);
  }
}

/** Compares the files that the manifest lists; those of other versions do not matter. Returns what is wrong, or "". */
async function checkFiles(dir: string, versionFolder: string, manifest: Manifest): Promise<string> {
  for (const [path, expected] of Object.entries(manifest.files)) {
    const [first = "", second] = path.split("/");
    if (second !== undefined && VERSION_PATTERN.test(first) && first !== versionFolder) continue;
    let actual: string;
    try {
      actual = await sha256Of(join(dir, path));
    } catch (error) {
      return `${path}, which ${MANIFEST_FILE} lists, cannot be read: ${describeFileError(error)}`;
    }
    if (actual !== expected) return `${path} has the SHA-256 ${actual}, but ${MANIFEST_FILE} says ${expected}`;
  }
  return "";
}

/** Files and folders without those that start with a dot (Kubernetes volumes keep theirs in `..data`); links are followed. */
async function list(dir: string): Promise<Listing> {
  const files: string[] = [];
  const folders: string[] = [];
  const broken = new Map<string, string>();
  for (const name of (await readdir(dir)).toSorted()) {
    if (name.startsWith(".")) continue;
    try {
      const stats = await stat(join(dir, name));
      if (stats.isDirectory()) folders.push(name);
      else if (stats.isFile()) files.push(name);
    } catch (error) {
      const isNowhere = isErrno(error) && error.code === "ENOENT";
      broken.set(name, isNowhere ? NOWHERE : `cannot be read: ${describeFileError(error)}`);
    }
  }
  return { files, folders, broken };
}

async function readManifest(dir: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(join(dir, MANIFEST_FILE), "utf8");
  } catch (error) {
    const isMissing = isErrno(error) && error.code === "ENOENT";
    // Without its manifest the model would be served, but otherwise than its owner says.
    if (isMissing && (await isLink(join(dir, MANIFEST_FILE)))) throw new Error(NOWHERE, { cause: error });
    if (isMissing) return DEFAULT_MANIFEST;
    throw new Error(`cannot be read: ${describeFileError(error)}`, { cause: error });
  }
  return parseManifest(text);
}

async function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    (stats) => stats.isSymbolicLink(),
    () => false,
  );
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path);
  try {
    for await (const chunk of file.createReadStream({ highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** Two folders or files that are the same version: neither serves, as nobody can tell which one is meant. */
function markDuplicates(models: readonly RepositoryModel[]): RepositoryModel[] {
  const groups = Map.groupBy(models, ({ name, version }) => `${name}/${version}`);
  return [...groups.values()].map((group) => {
    const [first] = group as [RepositoryModel];
    if (group.length === 1) return first;
    const paths = group.map(({ path }) => path).join(" and ");
    return failed(first, `version ${first.version} is there twice: ${paths}`);
  });
}

function failed(place: Place, reason: string): RepositoryModel {
  const { name, path, version = BARE_VERSION, manifest = DEFAULT_MANIFEST } = place;
  return { name, version, path, manifest, digest: "", state: "failed", reason };
}

function isOnnx(file: string): boolean {
  return file.endsWith(ONNX_SUFFIX);
}

function describeFileError(error: unknown): string {
  if (!isErrno(error)) return error instanceof Error ? error.message : String(error);
  switch (error.code) {
    case "ENOENT":
      return "it does not exist";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "ENOTDIR":
      return "it is not a folder";
    case "EISDIR":
      return "it is a folder";
    default:
      return error.message;
  }
}

function isErrno(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
