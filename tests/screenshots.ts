/**
 * Pictures of the broker's page for people to look at: two widths, light and dark, under load and with a worker just killed.
 * Usage: `make screenshots`; they lie in .cache/screenshots.
 */
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { launchChromium, openPage } from "./support/browser.ts";
import { startLoad } from "./support/load.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { ROOT } from "./support/repository.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const INTO = join(ROOT, ".cache", "screenshots");

const VIEWS = [1280, 390].flatMap((width) => (["light", "dark"] as const).map((theme) => ({ width, theme })));

/** The load while the charts fill: it swells, so that they have something to show. Connections, and for how long in ms. */
const TIDES = [
  [6, 20_000],
  [24, 15_000],
  [96, 12_000],
  [12, 15_000],
] as const;

/** The load that goes on while pictures are taken. */
const CONNECTIONS = 16;

await rm(INTO, { recursive: true, force: true });
await mkdir(INTO, { recursive: true });
await using folder = await temporaryFolder();
const [path = ""] = await writeModels(folder.path, [perceptronModel()]);
await cp(join(ROOT, "models", "digits"), join(folder.path, "digits"), { recursive: true });
await using system = await DevSystem.start({
  models: folder.path,
  workers: 2,
  args: ["--threads", "1", "--queue-rows-max", "256"],
});
const pool = { model: "perceptron", path, rows: 200, seed: 7 };
const digits = { model: "digits", path: join(folder.path, "digits", "1", "model.onnx"), rows: 60, seed: 8 };
const plan = { urls: system.urls, requests: Number.MAX_SAFE_INTEGER, pools: [pool, digits], seed: 9, prebuilt: 400 };

await using browser = await launchChromium();
const url = `${system.addresses["broker-1"]?.["admin"]}/dashboard`;
const pages = await Promise.all(VIEWS.map(async (view) => ({ view, ...(await openPage(browser, { url, ...view })) })));

const take = async (what: string): Promise<void> => {
  for (const { view, page } of pages) {
    const name = `${what}-${view.width}-${view.theme}.png`;
    await page.screenshot({ path: join(INTO, name), fullPage: true });
    console.log(join(".cache/screenshots", name));
  }
};

for (const [connections, durationMs] of TIDES) {
  await using load = await startLoad({ ...plan, connections, durationMs, checkEvery: 50 });
  await load.report;
}
await using load = await startLoad({ ...plan, connections: CONNECTIONS, checkEvery: 50 });
await sleep(8_000);
await take("load");
const { back } = system.kill("worker-2");
await Promise.all(pages.map(({ page }) => page.waitForSelector('tr[data-state="lost"]', { timeout: 3_000 })));
await take("killed");
await back;
await load.stop();
const complaints = pages.flatMap((one) => one.complaints);
await writeFile(join(INTO, "console.txt"), complaints.join("\n"));
await system.stop();
if (complaints.length > 0) throw new Error(`the console complains: ${complaints.join("\n")}`);
