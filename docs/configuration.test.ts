import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { CONFIGURATION_PAGE, configurationPage } from "./generate.ts";

test("docs/configuration.md is what the option tables say; `make docs` writes it", async () => {
  expect(await readFile(CONFIGURATION_PAGE, "utf8")).toBe(configurationPage());
});
