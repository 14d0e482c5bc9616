import { expect, test } from "vitest";
import { testModel } from "../testing.ts";
import { DocumentText } from "./document-text.ts";

test("the text is made again when a model comes, goes or changes, and for nobody else", () => {
  let made = 0;
  const text = new DocumentText((models) => `${++made} of ${models.map(({ model }) => model.name).join()}`);
  const [a, b] = ["a", "b"].map((name) => ({ model: testModel({ name }), workers: 1, isDefault: true }));
  expect(text.of([])).toBe("1 of ");
  expect(text.of([a!])).toBe("2 of a");
  expect(text.of([{ ...a!, workers: 2 }])).toBe("2 of a");
  expect(text.of([a!, b!])).toBe("3 of a,b");
  expect(text.of([a!, { ...b!, isDefault: false }])).toBe("4 of a,b");
  expect(text.of([{ ...a!, model: testModel({ name: "a" }) }, b!])).toBe("5 of a,b");
  expect(text.of([b!])).toBe("6 of b");
});
