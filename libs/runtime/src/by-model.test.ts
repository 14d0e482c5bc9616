import { expect, test } from "vitest";
import { ByModel, MODELS_MAX, OTHER_MODELS } from "./by-model.ts";

test("a model has the same recorders each time; from the hundred-and-first on all share those of no model", () => {
  const models = new ByModel((model) => ({ model }));
  expect(models.all()).toEqual([{ model: OTHER_MODELS }]);
  const first = models.of("m0");
  expect(models.of("m0")).toBe(first);
  for (let i = 0; i < MODELS_MAX + 2; i++) models.of(`m${i}`);
  expect(models.of(`m${MODELS_MAX - 1}`)).toEqual({ model: `m${MODELS_MAX - 1}` });
  expect(models.of(`m${MODELS_MAX}`)).toBe(models.others);
  expect(models.of(OTHER_MODELS)).toBe(models.others);
  expect(models.all()).toHaveLength(MODELS_MAX + 1);
});
