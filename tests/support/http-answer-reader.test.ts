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

test.each([
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 200 OK\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
  "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
])("refuses %j", (text) => {
  const reader = new HttpAnswerReader();
  reader.expect();
  expect(() => reader.push(Buffer.from(text))).toThrow(HttpFault);
});
