import { isIP } from "node:net";
import { brokersSchema, COMMON_OPTIONS, defineOptions, DISCOVERY_OPTIONS, type OptionsOf } from "@millrace/runtime";
import { z } from "zod";
import { isOrigin } from "./http/cors.ts";

const port = z.number().int().min(0).max(65_535);

/** Every option of a gateway: one row each. */
export const OPTIONS = defineOptions({
  ...COMMON_OPTIONS,
  host: {
    schema: z.string().refine((text) => isIP(text) !== 0 || text === "localhost", "an IP address or localhost"),
    default: "127.0.0.1",
    doc: "Address that HTTP listens on; containers set 0.0.0.0.",
  },
  port: { schema: port, default: 8000, doc: "Port of HTTP; 0 picks a free one." },
  adminPort: { schema: port, default: 9100, doc: "Port of the admin server; 0 picks a free one." },
  brokers: {
    schema: brokersSchema,
    default: ["tcp://127.0.0.1:5550"],
    doc: "Where brokers take gateways: tcp://HOST:PORT, with commas between. HOST is an IP address, or a name that stands for all of its addresses, in full, such as that of a headless Service. One broker is used at a time.",
  },
  ...DISCOVERY_OPTIONS,
  drainDelayMs: {
    schema: z.number().int().min(0).max(3_600_000),
    default: 0,
    doc: "How long a drain goes on serving, with /readyz 503 and Connection: close, before it refuses what is new, in milliseconds; part of the drain grace.",
  },
  requestTimeoutMs: {
    schema: z.number().int().min(1).max(3_600_000),
    default: 5000,
    doc: "Time budget of a request that brings none and whose model sets none, in milliseconds.",
  },
  requestTimeoutMsMax: {
    schema: z.number().int().min(1).max(3_600_000),
    default: 300_000,
    doc: "The largest time budget that a request can ask for, and the time that one may take to arrive, in milliseconds.",
  },
  jsonBytesMax: {
    schema: z
      .number()
      .int()
      .min(1024)
      .max(64 * 1024 * 1024),
    default: 16 * 1024 * 1024,
    doc: "The largest JSON body, and the largest JSON before binary tensors, that is accepted, in bytes.",
  },
  bodyBytesMax: {
    schema: z
      .number()
      .int()
      .min(1024)
      .max(64 * 1024 * 1024),
    default: 64 * 1024 * 1024,
    doc: "The largest body with binary tensors that is accepted, in bytes.",
  },
  inlineJsonBytesMax: {
    schema: z
      .number()
      .int()
      .min(0)
      .max(64 * 1024 * 1024),
    default: 256 * 1024,
    doc: "The largest JSON body that is parsed on the event loop, and the largest JSON of an answer that is written there (16 bytes a number), in bytes; larger ones go to another thread, so that no other request waits for them.",
  },
  parseThreads: {
    schema: z.number().int().min(1).max(64),
    default: 1,
    doc: "Threads that parse large JSON bodies and write large JSON answers. Each needs up to thirty times the bytes of the largest body while it parses a hostile one.",
  },
  inFlightMax: {
    schema: z.number().int().min(1).max(1_000_000),
    default: 10_000,
    doc: "The most inference requests that are held at once; more are refused with 429.",
  },
  inFlightBytesMax: {
    schema: z
      .number()
      .int()
      .min(1024)
      .max(64 * 1024 ** 3),
    default: 512 * 1024 * 1024,
    doc: "The most bytes of bodies that have arrived, with what they expand to, and of answers that are written by a thread, compressed, or not taken by their clients yet, that are held at once; more are refused with 429, before they are read where Content-Length tells.",
  },
  retryPercentMax: {
    schema: z.number().int().min(0).max(1000),
    default: 10,
    doc: "How many requests may be sent again when their broker was lost or has handed them back, in percent of those of the last ten seconds; the others get 503.",
  },
  retriesMin: {
    schema: z.number().int().min(0).max(1_000_000),
    default: 1000,
    doc: "So many requests may be sent again in ten seconds in any case.",
  },
  answerBytesMax: {
    schema: z
      .number()
      .int()
      .min(1024)
      .max(256 * 1024 * 1024),
    default: 64 * 1024 * 1024,
    doc: "The largest body of an answer, in bytes; a larger one becomes an error.",
  },
  bodyBytesPerSecondMin: {
    schema: z.number().int().min(0).max(1_000_000_000),
    default: 240,
    doc: "How many bytes a second of a body must come on the average, and of an answer be taken, after the grace; slower bodies are ended with 408, slower readers without a word. 0: as slow as they like.",
  },
  bodyGraceMs: {
    schema: z.number().int().min(1).max(3_600_000),
    default: 5000,
    doc: "How long a body may come, and an answer be taken, as slowly as it likes, in milliseconds.",
  },
  apiKeysFile: {
    schema: z.string(),
    default: "",
    doc: "File of the API keys that inference takes, TENANT KEY a line; a tenant * lets its key speak for any by x-tenant. Empty: no key is asked for.",
  },
  trustTenant: {
    schema: z.boolean(),
    default: false,
    doc: "Believe x-tenant without a key, where no keys are configured; millrace dev does.",
  },
  defaultModel: {
    schema: z.string().max(256),
    default: "",
    doc: "The model that POST /predict without a name goes to; empty means the only one that is served.",
  },
  models: {
    schema: z.string(),
    default: "",
    doc: "Folder whose NAME/hooks.ts are the hooks of model NAME (docs/hooks.md); empty means none. millrace dev gives its model repository.",
  },
  accessLogSample: {
    schema: z.number().int().min(0).max(1_000_000),
    default: 0,
    doc: "Of how many inference calls that were served one is logged; 0 logs none, 1 every one. The others are always logged, at most 10 a second of each error code.",
  },
  keepAliveTimeoutMs: {
    schema: z.number().int().min(1000).max(3_600_000),
    default: 75_000,
    doc: "How long an idle connection is kept, in milliseconds; must be longer than the load balancer keeps it.",
  },
  headersTimeoutMs: {
    schema: z.number().int().min(1000).max(3_600_000),
    default: 30_000,
    doc: "How long the head of a request may take to arrive, in milliseconds.",
  },
  hotLane: {
    schema: z.boolean(),
    default: true,
    doc: "Read plain inference requests in front of node's HTTP server, for half of what they cost there; whatever is not plain goes to it with its connection.",
  },
  corsOrigins: {
    schema: z.array(z.string().refine(isOrigin, "origins such as https://page.example, or *")),
    default: [],
    doc: "Origins whose pages may use this gateway from a browser (CORS), with commas between; * allows all, empty none.",
  },
  publicMetrics: {
    schema: z.boolean(),
    default: false,
    doc: "Answer /metrics on the HTTP port too, beside the admin port; millrace dev does.",
  },
  headerBytesMax: {
    schema: z
      .number()
      .int()
      .min(4096)
      .max(1024 * 1024),
    default: 16 * 1024,
    doc: "The largest head of a request that is accepted, in bytes; more is refused with 431.",
  },
  headerCountMax: {
    schema: z.number().int().min(16).max(2000),
    default: 100,
    doc: "The most header lines of a request; more are refused with 431.",
  },
});

/** The values of `OPTIONS`. */
export type GatewayOptions = OptionsOf<typeof OPTIONS>;
