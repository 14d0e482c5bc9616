import { deflateSync, gzipSync } from "node:zlib";
import type { SeededRandom } from "./seeded-random.ts";

/**
 * Requests for a gateway that serves the models of `FUZZ_MODELS`, most of them wrong in some way, each with what its answer has to
 * be. Made of a seed, so that a failed run can be repeated.
 */
export type FuzzCase = {
  readonly what: string;
  /** One request, in the pieces in which it is written. */
  readonly pieces: readonly Uint8Array[];
  readonly isHead: boolean;
  /** Whether the connection may end behind it, as it does behind a body that is refused unread: nothing follows in a pipeline. */
  readonly isLast: boolean;
  /**
   * - `good`: 200 with exactly `data` in the first output.
   * - `refused`: an error, of one of `codes` where there are any.
   * - `either`: an error or 200; `data` where it is 200 and they are given.
   * - `broken`: no request: an error, after which the connection ends. May end it without a word where `codes` says `silence`.
   */
  readonly expects: "good" | "refused" | "either" | "broken";
  readonly codes: readonly string[];
  readonly data?: readonly (number | string)[] | undefined;
};

/** `double` gives `x` of FP32 [batch, 2] twice as large, `longs` gives `n` of INT64 [batch, 2] as it is. */
export const FUZZ_MODELS = ["double", "longs"] as const;

type Headers = readonly (readonly [string, string])[];
type Body = string | Uint8Array;
type Draft = Pick<FuzzCase, "expects"> & {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Headers;
  readonly body?: Body;
  readonly codes?: readonly string[];
  readonly data?: FuzzCase["data"];
  /** Whether framing is as HTTP wants it, which is then chosen at random; otherwise `body` follows the head as it is. */
  readonly isFramed?: boolean;
};

const INFER = "/v2/models/double/infer";
const LONGS = "/v2/models/longs/infer";

/** Makes cases, each from the random numbers that follow. */
export function makeFuzzCase(random: SeededRandom): FuzzCase {
  const [what, make] = weighted(random);
  const draft = make(random);
  const { method = "POST", expects, codes = [], data } = draft;
  const bytes = write(random, draft);
  const isLast = expects === "broken" || (!BODY_IS_READ.has(what) && isOpenEnded(bytes));
  return { what, pieces: cut(random, bytes), isHead: method === "HEAD", isLast, expects, codes, data };
}

/** Cases that are refused for what the body holds. */
const BODY_IS_READ = new Set([
  "good",
  "good exact integers",
  "good plain form",
  "body cut off",
  "body with a changed byte",
]);
const SMALL_BYTES = 50_000;

/** Whether so much may be left unread that the connection is given up. */
function isOpenEnded(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes);
  return text.includes("Transfer-Encoding: chunked") || text.includes("Expect: ") || text.byteLength > SMALL_BYTES;
}

type Maker = (random: SeededRandom) => Draft;

/** Name, weight, maker. */
const MAKERS: readonly (readonly [string, number, Maker])[] = [
  ["good", 10, goodDraft],
  ["good exact integers", 4, exactDraft],
  ["good plain form", 3, plainDraft],
  ["body cut off", 6, truncatedDraft],
  ["body with a changed byte", 8, mutatedDraft],
  ["random bytes", 3, noiseDraft],
  ["bad UTF-8", 3, utf8Draft],
  ["deep nesting", 3, deepDraft],
  ["a number that is none", 6, numberDraft],
  ["a huge number", 5, hugeDraft],
  ["a key twice", 3, twiceDraft],
  ["a wrong shape", 6, shapeDraft],
  ["a wrong datatype", 4, datatypeDraft],
  ["another JSON value somewhere", 6, valueDraft],
  ["binary header length", 6, binaryDraft],
  ["compressed", 6, compressedDraft],
  ["a hostile header", 6, headerDraft],
  ["a path", 6, pathDraft],
  ["a method", 4, methodDraft],
  ["broken framing", 6, brokenDraft],
];

const WEIGHTS = MAKERS.reduce((sum, [, weight]) => sum + weight, 0);

function weighted(random: SeededRandom): readonly [string, Maker] {
  let at = random.integer(0, WEIGHTS - 1);
  for (const [what, weight, make] of MAKERS) {
    if (at < weight) return [what, make];
    at -= weight;
  }
  throw new RangeError("the weights do not add up");
}

type TensorText = { readonly name: string; readonly datatype: string; readonly shape: string; readonly data: string };

function bodyText({ name, datatype, shape, data }: TensorText, more = ""): string {
  return `{"inputs":[{"name":"${name}","datatype":"${datatype}","shape":${shape},"data":${data}}]${more}}`;
}

function doubleText(values: readonly (number | string)[], given: Partial<TensorText> = {}): string {
  const shape = `[${values.length / 2},2]`;
  return bodyText({ name: "x", datatype: "FP32", shape, data: `[${values.join()}]`, ...given });
}

/** Numbers that FP32 holds exactly, twice as large too. */
function values(random: SeededRandom, rows = random.integer(1, 4)): number[] {
  return Array.from({ length: 2 * rows }, () => random.integer(-(2 ** 20), 2 ** 20) / 8);
}

const IDS = ["", "a", "ü", "\u2028", "\u0000", "😀", "\\u0000", "x".repeat(300), "__proto__"];

function goodDraft(random: SeededRandom): Draft {
  const x = values(random);
  const more = random.next() < 0.3 ? `,"id":${JSON.stringify(random.pick(IDS))}` : "";
  const nested = `[${Array.from({ length: x.length / 2 }, (_, i) => `[${x[2 * i]},${x[2 * i + 1]}]`).join()}]`;
  const given = random.next() < 0.3 ? { data: nested } : {};
  const plain = doubleText(x, given);
  const text = `${plain.slice(0, -1)}${more}}`;
  const spaced = random.next() < 0.2 ? text.replaceAll(",", " ,\r\n\t ") : text;
  return { expects: "good", path: INFER, body: spaced, data: x.map((value) => 2 * value) };
}

const LONG_VALUES = [
  "0",
  "-0",
  "1e3",
  "9007199254740993",
  "9223372036854775807",
  "-9223372036854775808",
  "-9007199254740993",
  "12.0",
];
const LONG_RESULTS: Readonly<Record<string, string>> = { "-0": "0", "1e3": "1000", "12.0": "12" };

function exactDraft(random: SeededRandom): Draft {
  const given = Array.from({ length: 2 * random.integer(1, 3) }, () => random.pick(LONG_VALUES));
  const body = bodyText({ name: "n", datatype: "INT64", shape: `[${given.length / 2},2]`, data: `[${given.join()}]` });
  return { expects: "good", path: LONGS, body, data: given.map((text) => LONG_RESULTS[text] ?? text) };
}

function plainDraft(random: SeededRandom): Draft {
  const x = values(random, 1);
  return {
    expects: "good",
    path: "/predict/double",
    body: `{"data":[${x.join()}]}`,
    data: x.map((value) => 2 * value),
  };
}

function truncatedDraft(random: SeededRandom): Draft {
  const text = doubleText(values(random));
  return { expects: "refused", codes: ["invalid_json"], body: text.slice(0, random.integer(0, text.length - 1)) };
}

function mutatedDraft(random: SeededRandom): Draft {
  const bytes = Buffer.from(doubleText(values(random)));
  for (let i = random.integer(1, 3); i > 0; i--) bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
  return { expects: "either", body: bytes };
}

function noiseDraft(random: SeededRandom): Draft {
  const bytes = Uint8Array.from({ length: random.integer(1, 3000) }, () => random.integer(0, 255));
  return { expects: "refused", body: bytes };
}

const BAD_UTF8 = [[0xff], [0xc3, 0x28], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xc0, 0x80]];

function utf8Draft(random: SeededRandom): Draft {
  const text = doubleText(values(random));
  const bad = Buffer.from(random.pick(BAD_UTF8));
  const body = Buffer.concat([Buffer.from(`${text.slice(0, -1)},"id":"`), bad, Buffer.from('"}')]);
  return { expects: "refused", codes: ["invalid_json"], body };
}

function deepDraft(random: SeededRandom): Draft {
  const depth = 2 ** random.integer(1, 14);
  const open = random.pick([
    { text: "[", end: "]" },
    { text: '{"a":', end: "}" },
    { text: '[1,{"b":', end: "}]" },
  ]);
  const nested = open.text.repeat(depth);
  const whole = `${nested}1${open.end.repeat(depth)}`;
  const data = random.next() < 0.5 ? nested : whole;
  return { expects: "refused", body: random.next() < 0.5 ? data : doubleText([1, 2], { data }) };
}

function numberDraft(random: SeededRandom): Draft {
  const bad = random.pick([
    "NaN",
    "Infinity",
    "-Infinity",
    "+1",
    ".5",
    "1.",
    "0x10",
    "01",
    "1e",
    "--1",
    "1_000",
    "nan",
    "1n",
  ]);
  return { expects: "refused", codes: ["invalid_json"], body: doubleText([1, bad]) };
}

function hugeDraft(random: SeededRandom): Draft {
  const n = random.pick([
    "9223372036854775808",
    "-9223372036854775809",
    `1${"0".repeat(random.integer(20, 400))}`,
    "1.5",
    "1e400",
    "1e-400",
  ]);
  const long = bodyText({ name: "n", datatype: "INT64", shape: "[1,2]", data: `[1,${n}]` });
  const isInteger = n === "1e-400";
  if (random.next() < 0.5) {
    // JSON.parse makes 0 of it, as of every number that small; it is not an integer, but so near to one that nobody can tell.
    return isInteger
      ? { expects: "either", path: LONGS, body: long }
      : { expects: "refused", path: LONGS, codes: ["invalid_value"], body: long };
  }
  const x = random.pick(["1e39", "-1e39", "1e400", "3.5e38"]);
  return { expects: "refused", codes: ["invalid_value"], body: doubleText([1, x]) };
}

function twiceDraft(random: SeededRandom): Draft {
  const [a = 0, b = 0] = values(random, 1);
  const key = random.pick(["inputs", "id", "__proto__", "constructor"]);
  const text = doubleText([a, b]);
  // JSON.parse takes the last of several, as RFC 8259 (4) lets a reader do.
  if (key !== "inputs") return { expects: "good", body: `{"${key}":"p",${text.slice(1)}`, data: [2 * a, 2 * b] };
  return { expects: "good", body: `{"inputs":[],${text.slice(1)}`, data: [2 * a, 2 * b] };
}

const SHAPES = [
  "[]",
  "[2]",
  "[0,2]",
  "[-1,2]",
  "[1,3]",
  "[1,2,1]",
  "[1e9,2]",
  "[9007199254740993,2]",
  "[9007199254740991,9007199254740991]",
  "[1.5,2]",
  '["1",2]',
  "null",
  "{}",
  "[1,[2]]",
  `[${"1,".repeat(500)}2]`,
  "[65,2]",
  "[4294967296,2]",
];

function shapeDraft(random: SeededRandom): Draft {
  const codes = ["invalid_shape", "too_many_rows"];
  return { expects: "refused", codes, body: doubleText([1, 2], { shape: random.pick(SHAPES) }) };
}

const DATATYPES = ["FP64", "INT64", "BOOL", "BYTES", "FP16", "BF16", "float32", "", "fp32", "__proto__", "constructor"];

function datatypeDraft(random: SeededRandom): Draft {
  return {
    expects: "refused",
    codes: ["invalid_datatype"],
    body: doubleText([1, 2], { datatype: random.pick(DATATYPES) }),
  };
}

const VALUES = [
  "null",
  "true",
  '""',
  '"x"',
  "[]",
  "{}",
  "[[]]",
  "-1",
  "1.5",
  '{"length":2}',
  '{"__proto__":[1,2]}',
  "[null,1]",
];

function valueDraft(random: SeededRandom): Draft {
  const value = random.pick(VALUES);
  const text = random.pick([
    value,
    `{"inputs":${value}}`,
    `{"inputs":[${value}]}`,
    doubleText([1, 2], { data: value }),
    doubleText([1, 2]).replace('"x"', value),
    doubleText([1, 2]).replace('"FP32"', value),
    `${doubleText([1, 2]).slice(0, -1)},"outputs":${value}}`,
    `${doubleText([1, 2]).slice(0, -1)},"outputs":[{"name":"y","parameters":${value}}]}`,
    `${doubleText([1, 2]).slice(0, -1)},"parameters":${value}}`,
    `${doubleText([1, 2]).slice(0, -1)},"parameters":{"timeout":${value}}}`,
    `${doubleText([1, 2]).slice(0, -1)},"parameters":{"${random.pick(["priority", "sequence_id", "triton_x", "binary_data_output", "x"])}":${value}}}`,
    `${doubleText([1, 2]).slice(0, -1)},"id":${value}}`,
  ]);
  return { expects: "either", body: text };
}

/** Two FP32 in binary form behind a JSON head; the length that the header tells is right, or one of many wrong ones. */
function binaryDraft(random: SeededRandom): Draft {
  const isRight = random.next() < 0.3;
  const sizes = isRight ? 8 : random.pick([8, 7, 9, 0, -1, 2 ** 31, 2 ** 53, 1e300]);
  const asked = random.next() < 0.5 ? "" : ',"parameters":{"binary_data_output":true}';
  const text = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":${sizes}}}]${asked}}`;
  const blobBytes = isRight ? 8 : random.pick([8, 8, 0, 7, 9, 4096]);
  const exact = Buffer.byteLength(text);
  const blob = Buffer.from(new Float32Array([1, 2]).buffer);
  const body = Buffer.concat([Buffer.from(text), Buffer.concat([blob, Buffer.alloc(4096)]).subarray(0, blobBytes)]);
  const wrong = [
    exact,
    exact - 1,
    exact + 1,
    0,
    -1,
    body.byteLength,
    body.byteLength + 1,
    2 ** 53,
    "",
    "x",
    "1e1",
    "0x10",
    "+5",
    " ",
  ];
  const length = isRight ? exact : random.pick(wrong);
  const isDoubled = !isRight && random.next() < 0.05;
  const headers: [string, string][] = [["Inference-Header-Content-Length", String(length)]];
  if (isDoubled) headers.push(["Inference-Header-Content-Length", "3"]);
  const path = random.pick([INFER, INFER, "/predict/double"]);
  const given: Draft = { expects: "either", headers, body, path };
  return isRight && path === INFER ? { ...given, data: [2, 4] } : given;
}

/** A megabyte and a half that is eight megabytes large, made once: it must not be unpacked beyond the limit, or told apart early. */
const BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20), { level: 9 });

function compressedDraft(random: SeededRandom): Draft {
  const x = values(random, 1);
  const text = doubleText(x);
  const kind = random.pick(["gzip", "deflate", "cut", "changed", "garbage", "unknown", "bomb", "twice", "behind"]);
  const header = (encoding: string): Headers => [["Content-Encoding", encoding]];
  const data = x.map((value) => 2 * value);
  const packed = gzipSync(text);
  switch (kind) {
    case "gzip":
      return { expects: "either", headers: header("gzip"), body: packed, data };
    case "deflate":
      return { expects: "either", headers: header("deflate"), body: deflateSync(text), data };
    case "cut":
      return {
        expects: "refused",
        headers: header("gzip"),
        body: packed.subarray(0, random.integer(0, packed.length - 1)),
      };
    case "changed":
      packed[random.integer(0, packed.length - 1)]! ^= 1 << random.integer(0, 7);
      return { expects: "either", headers: header("gzip"), body: packed };
    case "garbage":
      return { expects: "refused", headers: header(random.pick(["gzip", "deflate"])), body: text };
    case "unknown":
      return {
        expects: "refused",
        codes: ["unsupported"],
        headers: header(random.pick(["br", "zstd", "compress", "gzip, br", "x"])),
        body: text,
      };
    case "bomb":
      return {
        expects: "refused",
        headers: header("gzip"),
        body: random.next() < 0.02 ? BOMB : gzipSync(Buffer.alloc(100_000, 0x20)),
      };
    case "twice":
      return { expects: "either", headers: header("gzip, gzip"), body: gzipSync(packed), data };
    default:
      return { expects: "either", headers: header("gzip"), body: Buffer.concat([packed, Buffer.from("behind")]) };
  }
}

function headerDraft(random: SeededRandom): Draft {
  const x = values(random, 1);
  const body = doubleText(x);
  const data = x.map((value) => 2 * value);
  const good = (name: string, value: string): Draft => ({ expects: "good", headers: [[name, value]], body, data });
  const kind = random.integer(0, 7);
  switch (kind) {
    case 0:
      return good(
        "Content-Type",
        random.pick(["text/plain", "application/octet-stream", "", "multipart/form-data", "a".repeat(500)]),
      );
    case 1:
      return good("x-request-id", random.pick(["", "é\u0080", "x".repeat(4000), "a b", '"', "id-1"]));
    case 2:
      return good(
        "traceparent",
        random.pick(["", "00-0-0-0", `00-${"0".repeat(32)}-${"0".repeat(16)}-01`, "x".repeat(900)]),
      );
    case 3: {
      const value = random.pick(["0", "-1", "soon", "1e3", "9".repeat(40), "", "5.5", "0x10"]);
      return { expects: "refused", codes: ["invalid_request"], headers: [["x-request-timeout-ms", value]], body };
    }
    case 4:
      return {
        expects: "good",
        headers: Array.from({ length: 60 }, (_, i) => [`x-many-${i}`, String(i)] as const),
        body,
        data,
      };
    case 5:
      return good("Accept-Encoding", random.pick(["gzip", "br", "*;q=0", "identity;q=0", "gzip;q=x", ","]));
    case 6:
      return {
        expects: "refused",
        codes: ["invalid_request"],
        headers: [["Expect", random.pick(["cake", "200-ok"])]],
        body,
      };
    default:
      return {
        expects: "good",
        headers: [
          ["x-request-timeout-ms", "4000"],
          ["Cookie", "a=b; c"],
          ["Range", "bytes=0-1"],
        ],
        body,
        data,
      };
  }
}

const PATHS: readonly (readonly [string, readonly string[]])[] = [
  ["/", ["not_found", "method_not_allowed"]],
  ["//", ["not_found"]],
  ["/v2/models//infer", ["not_found", "model_not_found", "method_not_allowed"]],
  ["/v2/models/%00/infer", ["model_not_found"]],
  ["/v2/models/%zz/infer", ["model_not_found", "not_found"]],
  ["/v2/models/%2e%2e%2fdouble/infer", ["model_not_found", "not_found"]],
  ["/v2/models/../../etc/passwd", ["not_found", "method_not_allowed", "model_not_found"]],
  ["/v2/models/__proto__/infer", ["model_not_found"]],
  ["/v2/models/double/versions/9/infer", ["model_not_found"]],
  ["/v2/models/double/versions/__proto__/infer", ["model_not_found"]],
  ["/v2/models/double/versions/1e0/infer", ["model_not_found"]],
  ["/v2/models/double/infer/", ["not_found"]],
  [`/v2/models/${"m".repeat(3000)}/infer`, ["model_not_found"]],
  ["/predict/nobody", ["model_not_found"]],
  ["/v2/models/double/infer/more", ["not_found"]],
  ["/V2/MODELS/double/infer", ["not_found"]],
  ["/v2/models/do%75ble/infer?x=1", []],
  ["http://elsewhere/v2/models/nobody/infer", ["model_not_found"]],
  ["/v2/models/d\u00e9/infer", []],
  ["/*", ["not_found"]],
];

function pathDraft(random: SeededRandom): Draft {
  const [path, codes] = random.pick(PATHS);
  const body = doubleText([1, 2]);
  return codes.length === 0 ? { expects: "either", path, body } : { expects: "refused", path, codes, body };
}

function methodDraft(random: SeededRandom): Draft {
  const path = random.pick([INFER, "/predict", "/livez", "/v2", "/v2/models/double", "/nowhere", "/v2/health/ready"]);
  const method = random.pick([
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "SEARCH",
    "QUERY",
  ]);
  const isRead =
    (method === "GET" || method === "HEAD") && !path.includes("infer") && path !== "/predict" && path !== "/nowhere";
  if (isRead) return { expects: "either", method, path };
  return { expects: "refused", method, path, codes: ["method_not_allowed", "not_found", "unsupported"] };
}

const GOOD_BODY = doubleText([1, 2]);
const CHUNKED = `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;

const BROKEN: readonly (string | readonly [string, "silence"])[] = [
  "\r\n\r\nGARBAGE\r\n\r\n",
  "GET\r\n\r\n",
  "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
  "GET / HTTP/1.1\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: x\r\nX-\u0000: y\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: x\r\n : y\r\n\r\n",
  `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
  `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
  "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n`,
  `${CHUNKED}xyz\r\n`,
  `${CHUNKED}-5\r\nabcde\r\n`,
  `${CHUNKED}5\r\nabcdefgh\r\n0\r\n\r\n`,
  `${CHUNKED}FFFFFFFFFFFFFFFFF\r\n`,
  `${CHUNKED}5;${"e".repeat(20_000)}\r\nabcde\r\n0\r\n\r\n`,
  `${CHUNKED}5 \r\nabcde\r\n0\r\n\r\nX`,
  `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: ${100 * 1024 * 1024}\r\n\r\n`,
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003\r\n\r\n",
];

function brokenDraft(random: SeededRandom): Draft {
  const one = random.pick(BROKEN);
  const [text, codes] = typeof one === "string" ? [one, []] : [one[0], [one[1]]];
  return { expects: "broken", isFramed: false, codes, body: Buffer.from(text, "latin1") };
}

/** The bytes of a request: with Content-Length or in chunks of any size. */
function write(random: SeededRandom, draft: Draft): Uint8Array {
  const { method = "POST", path = INFER, headers = [], body = "", isFramed = true } = draft;
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  if (!isFramed) return bytes;
  const lines = ["Host: fuzz", ...headers.map(([name, value]) => `${name}: ${value}`)];
  const isChunked = random.next() < 0.2 && method !== "HEAD" && method !== "GET";
  lines.push(isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes.byteLength}`);
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return Buffer.concat(isChunked ? [head, ...chunks(random, bytes), Buffer.from("0\r\n\r\n")] : [head, bytes]);
}

function chunks(random: SeededRandom, bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const size = random.pick([1, 7, 100, 5000, 100_000]);
  const step = Math.max(size, Math.ceil(bytes.byteLength / 200));
  for (let at = 0; at < bytes.byteLength; at += step) {
    const part = bytes.subarray(at, at + step);
    parts.push(Buffer.from(`${part.byteLength.toString(16)}\r\n`), part, Buffer.from("\r\n"));
  }
  return parts;
}

/** Mostly one piece, as clients write; sometimes a few, at any byte. */
function cut(random: SeededRandom, bytes: Uint8Array): Uint8Array[] {
  if (random.next() < 0.8 || bytes.byteLength < 2) return [bytes];
  const ends = Array.from({ length: random.integer(1, 4) }, () => random.integer(1, bytes.byteLength)).sort(
    (a, b) => a - b,
  );
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const end of [...ends, bytes.byteLength]) {
    if (end > from) pieces.push(bytes.subarray(from, end));
    from = end;
  }
  return pieces;
}

/** A request that every gateway answers with 200, to see that it still does. */
export const WITNESS: FuzzCase = {
  what: "the witness",
  pieces: [Buffer.from(`POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: ${GOOD_BODY.length}\r\n\r\n${GOOD_BODY}`)],
  isHead: false,
  isLast: false,
  expects: "good",
  codes: [],
  data: [2, 4],
};
