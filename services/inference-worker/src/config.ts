import { brokerAddressSchema, COMMON_OPTIONS, defineOptions } from "@millrace/runtime";
import { z } from "zod";

/** Every option of the worker. */
export const OPTIONS = defineOptions({
  ...COMMON_OPTIONS,
  brokers: {
    schema: brokerAddressSchema,
    default: "tcp://127.0.0.1:5551",
    doc: "Address of the broker's side for workers, tcp://IP:PORT; an IP address, and one broker, in this version.",
  },
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
    schema: z.number().int().min(1).max(64),
    default: 1,
    doc: "Execution lanes: batches that run at one time. Each holds its own copy of every model.",
  },
  threads: {
    schema: z.number().int().min(0).max(256),
    default: 0,
    doc: "onnxruntime threads of one slot; 0 divides the processors that the process may use among the slots.",
  },
  bytesMax: {
    schema: z
      .number()
      .int()
      .min(1)
      .max(64 * 2 ** 30),
    default: 256 * 2 ** 20,
    doc: "Payload bytes that may be out at this worker at one time, in bytes.",
  },
});
