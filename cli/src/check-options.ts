import { defineOptions } from "@millrace/runtime";
import { z } from "zod";

/** The options of `millrace check`. */
export const CHECK_OPTIONS = defineOptions({
  url: { schema: z.string(), default: "", doc: "The server, e.g. http://127.0.0.1:8000; may stand without --url." },
  model: {
    schema: z.string(),
    default: "",
    doc: "The model that is asked; empty means the only one of the repository index.",
  },
  shape: {
    schema: z.string().regex(/^$|^[^:\s]+:\d+(,\d+)*( [^:\s]+:\d+(,\d+)*)*$/, "expected NAME:1,2,3"),
    default: "",
    doc: "Sizes of the open dimensions of an input after its first, as NAME:16,4 (those that are not open are passed over); several with spaces between.",
  },
  size: {
    schema: z.number().int().min(1).max(100_000),
    default: 8,
    doc: "What every other open dimension but the first is made up with, in elements.",
  },
  seconds: {
    schema: z.number().min(0).max(600),
    default: 3,
    doc: "How long the speed is measured with 1 and with 16 connections each, in seconds; 0 does not.",
  },
  json: { schema: z.boolean(), default: false, doc: "One JSON document on stdout instead of the table." },
});
