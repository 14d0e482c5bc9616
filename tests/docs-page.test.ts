import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findChromium, launchChromium, NO_CHROMIUM, openPage } from "./support/browser.ts";
import { get } from "./support/inference-client.ts";
import { ROOT } from "./support/repository.ts";
import { DevSystem } from "./support/system.ts";

/** Where a browser has to be there, as in CI, the tests fail without one; elsewhere they are skipped, and say so. */
const isSkipped = findChromium() === undefined && process.env["TEST_BROWSER"] !== "required";
if (isSkipped) console.warn(`SKIPPED tests/docs-page.test.ts: ${NO_CHROMIUM}`);

const started = new AsyncDisposableStack();
let system: DevSystem;
let browser: Browser;

beforeAll(async () => {
  if (isSkipped) return;
  system = started.use(await DevSystem.start({ models: join(ROOT, "models") }));
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await started.disposeAsync();
});

test.skipIf(isSkipped)("the page shows every operation, and loads nothing from elsewhere", async () => {
  const { page, complaints, origins } = await openPage(browser, {
    url: `${system.url}/docs`,
    width: 1280,
    theme: "light",
  });
  await page.waitForSelector("#operations-Model_digits-infer_digits");
  const document = JSON.parse((await get(`${system.url}/openapi.json`)).text) as { paths: Record<string, object> };
  const count = Object.values(document.paths).reduce((sum, item) => sum + Object.keys(item).length, 0);
  expect(await page.locator(".opblock").count()).toBe(count);
  expect([complaints, [...origins]]).toEqual([[], [system.url]]);
});

test.skipIf(isSkipped)("a model can be asked from the page, with the example as it stands there", async () => {
  const { page, complaints } = await openPage(browser, { url: `${system.url}/docs`, width: 1280, theme: "light" });
  await page.locator("#operations-Model_digits-infer_digits .opblock-summary-control").click();
  const [response] = await Promise.all([
    page.waitForResponse((answer) => answer.url() === `${system.url}/v2/models/digits/infer`),
    page.locator("button.execute").click(),
  ]);
  expect(response.status()).toBe(200);
  await page.locator(".live-responses-table").getByText("probabilities").first().waitFor();
  expect(complaints).toEqual([]);
});
