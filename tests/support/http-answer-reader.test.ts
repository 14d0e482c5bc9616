import { expect, test } from "vitest";
import { headerOf, HttpAnswerReader, HttpFault } from "./http-answer-reader.ts";

const OK = Buffer.from("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");

test("reads an answer, wherever its bytes are cut", () => {
  for (let cut = 0; cut < OK.byteLength; cut++) {
    const reader = new HttpAnswerReader();
    for (let round = 0; round < 2; round++) {
      reader.expect();
      expect(reader.push(OK.subarray(0, cut))).toBeUndefined();
      const answer = reader.push(OK.subarray(cut));
      expect(answer?.status).toBe(200);
      expect(answer?.body.toString()).toBe("hello");
      expect(headerOf(answer?.head ?? "", "content-type")).toBe("text/plain");
      expect(headerOf(answer?.head ?? "", "x-none")).toBe("");
    }
  }
});

test("reads an answer that comes byte by byte through one buffer, as sockets give it", () => {
  const buffer = Buffer.alloc(64);
  const reader = new HttpAnswerReader();
  for (let round = 0; round < 2; round++) {
    reader.expect();
    for (const [at, byte] of OK.entries()) {
      buffer.fill(0x0a);
      buffer[0] = byte;
      const answer = reader.push(buffer, 1);
      expect(answer === undefined).toBe(at < OK.byteLength - 1);
      if (answer === undefined) continue;
      expect(answer.head).toBe(OK.toString().split("\r\n\r\n")[0]);
      expect(answer.body.toString()).toBe("hello");
    }
  }
});

test("what an answer before left in the buffer is not part of the next", () => {
  const buffer = Buffer.alloc(256);
  const read = (text: string): ReturnType<HttpAnswerReader["push"]> => {
    const reader = new HttpAnswerReader();
    reader.expect();
    return reader.push(buffer, buffer.write(text));
  };
  expect(read(OK.toString())?.body.toString()).toBe("hello");
  expect(read(OK.toString().slice(0, -1))).toBeUndefined();
  expect(read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?.body.byteLength).toBe(0);
});

test.each([
  ["content-length:5\r\nCONNECTION: Close", true],
  ["cONTENT-lENGTH: 5\r\nConnection: keep-alive", false],
  ["X-A: content-length: 7\r\nContent-Length: 5\r\nContent-Lengths: 7\r\nX-Connection: close", false],
  ["X-A:\ncontent-length: 7\r\nContent-Length: 000000005", false],
])("headers in whatever case, at the beginning of lines only: %j", (headers, isLast) => {
  const reader = new HttpAnswerReader();
  reader.expect();
  const answer = reader.push(Buffer.from(`HTTP/1.1 503\r\n${headers}\r\n\r\nhello`));
  expect(answer).toMatchObject({ status: 503, isLast });
  expect(answer?.body.toString()).toBe("hello");
});

test("an answer that nobody asked for, and a second one, are faults", () => {
  expect(() => new HttpAnswerReader().push(OK)).toThrow(HttpFault);
  const reader = new HttpAnswerReader();
  reader.expect();
  expect(() => reader.push(Buffer.concat([OK, OK]))).toThrow("bytes behind the answer");
  const late = new HttpAnswerReader();
  late.expect();
  late.push(OK);
  expect(() => late.push(OK)).toThrow("nobody asked for");
});

test("a head that does not end is refused", () => {
  const reader = new HttpAnswerReader();
  reader.expect();
  const text = `HTTP/1.1 200 OK\r\nX: ${"x".repeat(60_000)}`;
  expect(reader.push(Buffer.from(text))).toBeUndefined();
  expect(() => reader.push(Buffer.from(text))).toThrow("the head does not end");
});

test.each([
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
  "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
  "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length:  0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0 \r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0x0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0000000000\r\n\r\n",
])("refuses %j", (text) => {
  const reader = new HttpAnswerReader();
  reader.expect();
  expect(() => reader.push(Buffer.from(text))).toThrow(HttpFault);
});
