import { expect, test } from "vitest";
import { INCOMPLETE, type PlainLimits, readPlainRequest } from "./plain-request.ts";

const LIMITS: PlainLimits = { headerBytesMax: 4096, headerCountMax: 16, bodyBytesMax: 1000 };

const HEAD = ["POST /v2/models/m/infer HTTP/1.1", "Host: x:80", "Content-Length: 2"];

function read(lines: readonly string[], body = "{}", limits = LIMITS) {
  return readPlainRequest(Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1"), limits);
}

test("a plain request: its model, its headers in lower case, its body as a view", () => {
  const bytes = Buffer.from(`${[...HEAD, "X-Request-Id:  a b", "connection: Keep-Alive"].join("\r\n")}\r\n\r\n{}`);
  const request = readPlainRequest(bytes, LIMITS);
  expect(request).toEqual({
    model: "m",
    headers: ["host", "x:80", "content-length", "2", "x-request-id", "a b", "connection", "Keep-Alive"],
    body: Buffer.from("{}"),
  });
  expect((request as { body: Buffer }).body.buffer).toBe(bytes.buffer);
});

test.each([
  ["another method", ["GET /v2/models/m/infer HTTP/1.1", ...HEAD.slice(1)]],
  ["another version", ["POST /v2/models/m/infer HTTP/1.0", ...HEAD.slice(1)]],
  ["a small letter", ["POST /v2/models/m/infer http/1.1", ...HEAD.slice(1)]],
  ["another route", ["POST /predict HTTP/1.1", ...HEAD.slice(1)]],
  ["a query", ["POST /v2/models/m/infer?a HTTP/1.1", ...HEAD.slice(1)]],
  ["an absolute target", ["POST http://x/v2/models/m/infer HTTP/1.1", ...HEAD.slice(1)]],
  ["a name that is to be decoded", ["POST /v2/models/%6D/infer HTTP/1.1", ...HEAD.slice(1)]],
  ["two blanks", ["POST  /v2/models/m/infer HTTP/1.1", ...HEAD.slice(1)]],
  ["an empty line before", ["", ...HEAD]],
  ["no Host", [HEAD[0]!, HEAD[2]!]],
  ["two Hosts", [...HEAD, "host: x:80"]],
  ["a Host that is none", [HEAD[0]!, "Host: x@y", HEAD[2]!]],
  ["no length", HEAD.slice(0, 2)],
  ["two lengths", [...HEAD, "content-length: 2"]],
  ["a list of lengths", [...HEAD.slice(0, 2), "Content-Length: 2, 2"]],
  ["a sign", [...HEAD.slice(0, 2), "Content-Length: +2"]],
  ["a zero before", [...HEAD.slice(0, 2), "Content-Length: 02"]],
  ["hexadecimal", [...HEAD.slice(0, 2), "Content-Length: 0x2"]],
  ["a length of nothing", [...HEAD.slice(0, 2), "Content-Length: 0"]],
  ["a blank before the colon", [...HEAD.slice(0, 2), "Content-Length : 2"]],
  ["a line that goes on", [...HEAD, "x-a: 1", " 2"]],
  ["a line that goes on after a tab", [...HEAD, "x-a: 1", "\t2"]],
  ["a tab", [...HEAD, "x-a:\t1"]],
  ["a blank at the end", [...HEAD, "x-a: 1 "]],
  ["no value", [...HEAD, "x-a:"]],
  ["no colon", [...HEAD, "x-a"]],
  ["a bare line feed", [...HEAD, "x-a: 1\nTransfer-Encoding: chunked"]],
  ["a bare carriage return", [...HEAD, "x-a: 1\rTransfer-Encoding: chunked"]],
  ["a NUL", [...HEAD, "x-a: 1\0"]],
  ["a character beyond ASCII", [...HEAD, "x-a: ä"]],
  ["a character beyond ASCII in a name", [...HEAD, "x-ä: 1"]],
  ["an underscore in a name", [...HEAD, "content_length: 5"]],
  ["a name twice", [...HEAD, "x-a: 1", "X-A: 2"]],
  ["chunks", [...HEAD, "Transfer-Encoding: chunked"]],
  ["chunks of which one may doubt", [...HEAD, "transfer-encoding: identity"]],
  ["a browser's origin", [...HEAD, "Origin: https://page.example"]],
  ["an expectation", [...HEAD, "Expect: 100-continue"]],
  ["an upgrade", [...HEAD, "Upgrade: h2c"]],
  ["a connection that closes", [...HEAD, "Connection: close"]],
  ["a list in Connection", [...HEAD, "Connection: keep-alive, host"]],
  ["a body that is compressed", [...HEAD, "Content-Encoding: gzip"]],
  ["more lines than the limit", [...HEAD, ...Array.from({ length: 15 }, (_, i) => `x-${i}: 1`)]],
  ["a longer head than the limit", [...HEAD, `x-a: ${"a".repeat(4096)}`]],
])("%s is for a whole parser", (_, lines) => {
  expect(read(lines)).toBeUndefined();
});

test("a body in part is incomplete, one byte more is not plain, and neither is one beyond the limit", () => {
  expect(read(HEAD, "")).toBe(INCOMPLETE);
  expect(read(HEAD, "{")).toBe(INCOMPLETE);
  expect(read(HEAD, "{}")).toMatchObject({ model: "m" });
  expect(read(HEAD, "{} ")).toBeUndefined();
  expect(read(HEAD, "{}POST")).toBeUndefined();
  const long = (length: number): string[] => [...HEAD.slice(0, 2), `Content-Length: ${length}`];
  expect(read(long(1000), "")).toBe(INCOMPLETE);
  expect(read(long(1001), "")).toBeUndefined();
  expect(read(long(1001), "x".repeat(1001))).toBeUndefined();
});

test("every head that is cut somewhere is for a whole parser", () => {
  const head = `${HEAD.join("\r\n")}\r\n\r\n`;
  for (let i = 0; i < head.length; i++) expect(readPlainRequest(Buffer.from(head.slice(0, i)), LIMITS)).toBeUndefined();
});

test("a line of blanks is read in linear time", () => {
  const limits = { ...LIMITS, headerBytesMax: 1024 * 1024 };
  const startedMs = performance.now();
  expect(read([...HEAD, `x-a: a${" ".repeat(1_000_000)}`], "{}", limits)).toBeUndefined();
  expect(read([...HEAD, `x-a:${" ".repeat(1_000_000)}`], "{}", limits)).toBeUndefined();
  expect(performance.now() - startedMs).toBeLessThan(1000);
});

test("header lines beyond the limit are not compared with each other", () => {
  const limits = { ...LIMITS, headerBytesMax: 1024 * 1024 };
  const more = Array.from({ length: 50_000 }, (_, i) => `x-${i}: 1`);
  const startedMs = performance.now();
  expect(read([...HEAD, ...more], "{}", limits)).toBeUndefined();
  expect(performance.now() - startedMs).toBeLessThan(1000);
});
