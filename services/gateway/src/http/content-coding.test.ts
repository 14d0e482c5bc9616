import fc from "fast-check";
import { expect, test } from "vitest";
import { answerCoding, requestCoding } from "./content-coding.ts";

test.each([
  [undefined, undefined],
  ["", undefined],
  ["identity", undefined],
  ["gzip", "gzip"],
  [" GZIP ", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
] as const)("a body with Content-Encoding %s", (header, coding) => {
  expect(requestCoding(header)).toBe(coding);
});

test.each(["br", "gzip, deflate", "gzip,gzip", "zip", "__proto__", "*"])(
  "Content-Encoding %s is refused by name",
  (header) => {
    expect(requestCoding(header)).toMatchObject({
      code: "unsupported",
      message: `Content-Encoding ${JSON.stringify(header)} is not supported; gzip, deflate are`,
    });
  },
);

test.each([
  [undefined, undefined],
  ["", undefined],
  ["br", undefined],
  ["gzip", "gzip"],
  ["deflate", "deflate"],
  ["deflate, gzip", "gzip"],
  ["gzip, deflate, br, zstd", "gzip"],
  ["gzip;q=0.5, deflate;q=0.8", "deflate"],
  ["gzip;q=0, deflate;q=0", undefined],
  ["*", "gzip"],
  ["*;q=0", undefined],
  ["gzip;q=0, *", "deflate"],
  ["identity", undefined],
  ["identity;q=1, gzip;q=0.5", undefined],
  ["identity;q=0.5, gzip;q=1.0", "gzip"],
  ["GZIP ; Q=0.3", "gzip"],
  ["gzip;q=lots", undefined],
] as const)("an answer for Accept-Encoding %s", (header, coding) => {
  expect(answerCoding(header)).toBe(coding);
});

test("neither throws on any header", () => {
  fc.assert(
    fc.property(fc.string(), (header) => {
      requestCoding(header);
      answerCoding(header);
    }),
  );
});
