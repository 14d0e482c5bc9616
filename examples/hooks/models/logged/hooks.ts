/** Every tenth request as a line of JSON, without the pixels. */
import { logPayloads } from "@millrace/hooks";

export const after = logPayloads({
  file: process.env["PAYLOAD_LOG"] ?? "/tmp/millrace-payloads.jsonl",
  sample: Number(process.env["PAYLOAD_SAMPLE"] ?? 0.1),
  redact: ["inputs.image"],
});
