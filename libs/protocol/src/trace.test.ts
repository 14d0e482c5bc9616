import { expect, test } from "vitest";
import { encodeTrace, requestIdOf, requestIdsOf } from "./trace.ts";

test("an id goes there and back; without one nothing goes", () => {
  expect(requestIdOf(encodeTrace("a/b+c=@-1"))).toBe("a/b+c=@-1");
  expect(encodeTrace("").byteLength).toBe(0);
  expect(requestIdOf(encodeTrace(""))).toBe("");
});

test("contexts of other peers: what they lack is empty, what they should not send is harmless", () => {
  const of = (text: string): string => requestIdOf(Buffer.from(text, "latin1"));
  expect(of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")).toBe("");
  expect(of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\na=b")).toBe("");
  expect(of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\na=b\nid")).toBe("id");
  expect(of("\n\nid\nof a later version")).toBe("id");
  expect(of(`\n\n\x1b[2J\xff ${"x".repeat(200)}`)).toBe(`?[2J??${"x".repeat(122)}`);
});

test("of many the first ten are told", () => {
  const traces = Array.from({ length: 20 }, (_, i) => encodeTrace(i === 3 ? "" : `r${i}`));
  expect(requestIdsOf(traces)).toBe("r0 r1 r2 r4 r5 r6 r7 r8 r9");
});
