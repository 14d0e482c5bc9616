import { join } from "node:path";
import { writeModels } from "../tests/support/load-models.ts";
import { ROOT } from "../tests/support/repository.ts";
import { imageModel } from "./image-model.ts";
import { heavyMlp, mlpModel, smallMlp } from "./models.ts";
import { CONTROL, IMPATIENT, REFERENCE } from "./peers/peers.ts";
import type { ServedModel } from "./side.ts";

/** How requests come. Times in milliseconds. */
export type LoadShape =
  /** So many connections, each of which sends its next request when it has its answer. */
  | { readonly kind: "closed"; readonly connections: number }
  /**
   * Poisson arrivals at a share of what a side answers under a closed loop of `connections`, measured in the same round: of the named
   * side, for all alike, or of each its own. An answer counts when it comes within `deadlineMs` of when its request was due.
   */
  | {
      readonly kind: "open";
      readonly share: number;
      readonly of: "own" | { readonly side: string };
      readonly connections: number;
      readonly deadlineMs: number;
    }
  /** All at once, on a connection each. */
  | { readonly kind: "burst"; readonly requests: number; readonly deadlineMs: number };

/** One kind of work, and the sides that do it where nothing else is asked for. */
export type Workload = {
  readonly name: string;
  readonly title: string;
  readonly model: BenchModelName;
  readonly shape: LoadShape;
  readonly sides: readonly string[];
  /** Whether a run without --workloads has it. */
  readonly isDefault: boolean;
};

const MILLRACE = "Millrace, 1 gateway, 1 worker";
const NODE = [REFERENCE, CONTROL, "node:cluster × 2"] as const;
const FEW = [MILLRACE, REFERENCE, CONTROL, "mosec", "FastAPI with batching"] as const;
const MANY = [
  MILLRACE,
  "Millrace, 2 gateways, 1 worker",
  "Millrace, 1 gateway, 2 workers",
  ...NODE,
  "mosec",
  "mosec × 2",
  "FastAPI with batching",
  "FastAPI with batching × 2",
] as const;
const PINNED = [`${MILLRACE}, pinned`, `${REFERENCE}, pinned`, "mosec, pinned"] as const;

function closed(model: BenchModelName, connections: number, sides: readonly string[]): Workload {
  const s = connections === 1 ? "" : "s";
  return {
    name: `${model}-${connections}`,
    title: `${MODEL_TITLES[model]}, ${connections} connection${s}`,
    model,
    shape: { kind: "closed", connections },
    sides,
    isDefault: true,
  };
}

/** A load that the peer which is held to be the fastest bears well. */
function open(model: BenchModelName): Workload {
  return {
    name: `${model}-open`,
    title: `${MODEL_TITLES[model]}, Poisson arrivals at 70 % of mosec's capacity, deadline ${OPEN_DEADLINE_MS} ms`,
    model,
    shape: { kind: "open", share: 0.7, of: { side: "mosec" }, connections: 256, deadlineMs: OPEN_DEADLINE_MS },
    sides: [MILLRACE, "mosec", "FastAPI with batching"],
    isDefault: true,
  };
}

/** More than a side can do: what is left of it. */
function overload(model: BenchModelName): Workload {
  return {
    name: `${model}-overload`,
    title: `${MODEL_TITLES[model]}, Poisson arrivals at 1.5 times each side's own capacity, deadline ${OPEN_DEADLINE_MS} ms`,
    model,
    shape: { kind: "open", share: 1.5, of: "own", connections: 256, deadlineMs: OPEN_DEADLINE_MS },
    sides: [MILLRACE, "mosec", IMPATIENT, "FastAPI with batching"],
    isDefault: true,
  };
}

const OPEN_DEADLINE_MS = 100;

export type BenchModelName = "small" | "heavy" | "digits" | "image";

const MODEL_TITLES: Readonly<Record<BenchModelName, string>> = {
  small: "small MLP (64 floats)",
  heavy: "heavy MLP (512 floats)",
  digits: "digits (64 floats)",
  image: "image tensor (600 kB; 1.2 MB as JSON)",
};

/** Requests that differ, made beforehand and sent over and over: as many as memory likes. */
export const DISTINCT_ROWS: Readonly<Record<BenchModelName, number>> = { small: 128, heavy: 64, digits: 128, image: 4 };

export const WORKLOADS: readonly Workload[] = [
  closed("small", 256, [MILLRACE, ...NODE, "mosec", ...PINNED, "FastAPI × 2", "FastAPI with batching × 2"]),
  {
    ...closed("small", 256, [...MANY, "FastAPI", "FastAPI × 2", "Flask"]),
    name: "small-256-scaled",
    title: "small MLP (64 floats), 256 connections, one and two of everything",
  },
  {
    ...closed("small", 64, [MILLRACE, REFERENCE, CONTROL, "LitServe", "BentoML", "MLServer", "Ray Serve"]),
    name: "small-64-frameworks",
    isDefault: false,
  },
  closed("small", 64, FEW),
  closed("small", 16, FEW),
  closed("small", 1, FEW),
  closed("heavy", 256, MANY),
  closed("digits", 256, FEW),
  closed("image", 16, FEW),
  {
    ...closed("image", 16, [MILLRACE, `${MILLRACE}, tensors as bytes`, "node:http echo, tensors as bytes"]),
    name: "image-16-bytes",
    title: "image tensor, as JSON (1.2 MB) and as bytes (600 kB), 16 connections",
  },
  open("small"),
  open("heavy"),
  overload("small"),
  overload("heavy"),
  {
    name: "heavy-burst",
    title: "heavy MLP, 1,000 requests at once",
    model: "heavy",
    shape: { kind: "burst", requests: 1_000, deadlineMs: 1_000 },
    sides: [
      MILLRACE,
      "Millrace, 1 gateway, 2 workers",
      "Millrace, 1 gateway, 4 workers",
      REFERENCE,
      "mosec",
      "FastAPI with batching",
    ],
    isDefault: true,
  },
];

/** Puts the file of a model into `folder`, where it is not in the repository; the same bytes every time. */
export async function serveModel(name: BenchModelName, folder: string): Promise<ServedModel> {
  if (name === "digits") {
    const repository = join(ROOT, "models");
    return { name, repository, file: join(repository, name, "1", "model.onnx") };
  }
  const repository = join(folder, name);
  const model = name === "image" ? imageModel() : mlpModel(name === "heavy" ? heavyMlp : smallMlp);
  const [file = ""] = await writeModels(repository, [model]);
  return { name: model.name, repository, file };
}
