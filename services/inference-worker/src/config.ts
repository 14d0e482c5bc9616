import { brokersSchema, COMMON_OPTIONS, defineOptions, DISCOVERY_OPTIONS } from "@millrace/runtime";
import { z } from "zod";
import { SLOTS_MAX } from "./manifest.ts";

/** Every option of the worker. */
export const OPTIONS = defineOptions({
  ...COMMON_OPTIONS,
  brokers: {
    schema: brokersSchema,
    default: ["tcp://127.0.0.1:5551"],
    doc: "Where brokers take workers: tcp://HOST:PORT, with commas between. HOST is an IP address, or a name that stands for all of its addresses, in full, such as that of a headless Service. The worker serves every broker that it finds.",
  },
  ...DISCOVERY_OPTIONS,
  models: {
    schema: z.string().min(1),
    default: "models",
    doc: "Folder with the models; see docs/model-repository.md.",
  },
  adminPort: {
    schema: z.number().int().min(0).max(65_535),
    default: 9102,
    doc: "Port of the admin server; 0 picks a free one.",
  },
  slots: {
    schema: z.number().int().min(1).max(SLOTS_MAX),
    default: 1,
    doc: "Execution lanes: batches that run at one time. Each holds its own copy of every model, but for those that say in model.yaml how many instances they have; where one says more, there are as many slots.",
  },
  threads: {
    schema: z.number().int().min(0).max(256),
    default: 0,
    doc: "onnxruntime threads of one slot; 0 divides the whole processors that the process may use, its container's limit observed, among the slots.",
  },
  modelBytesMax: {
    schema: z
      .number()
      .int()
      .min(0)
      .max(1024 * 2 ** 30),
    default: 0,
    doc: "Bytes that all copies of all models may take together, one copy a slot; a model that would exceed it cannot serve, with that reason, and those before it do. 0 means no limit.",
  },
  curveDir: {
    schema: z.string(),
    default: "",
    doc: "Folder where measured batch times are kept, so that a worker that starts anew need not measure; made where it is missing, and workers may share it. Empty keeps nothing.",
  },
  curvesFile: {
    schema: z.string(),
    default: "",
    doc: "File with measured batch times, as GET /curves shows them: where they are of this kind of worker it need not measure. Empty means none.",
  },
  bytesMax: {
    schema: z
      .number()
      .int()
      .min(1)
      .max(64 * 2 ** 30),
    default: 256 * 2 ** 20,
    doc: "Payload bytes that one broker may have out at this worker at one time, in bytes.",
  },
});
