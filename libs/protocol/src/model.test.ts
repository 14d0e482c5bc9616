import { expect, test } from "vitest";
import { compareVersions } from "./model.ts";

test("versions are ordered by number, also where a double cannot tell them apart", () => {
  const versions = ["10", "9", "100000000000000002", "100000000000000001", "100"];
  expect(versions.toSorted(compareVersions)).toEqual(["9", "10", "100", "100000000000000001", "100000000000000002"]);
  expect(compareVersions("7", "7")).toBe(0);
});
