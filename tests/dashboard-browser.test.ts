import { encodeMessage, type Message } from "@millrace/protocol";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Dealer } from "zeromq";
import { until } from "./support/bounded.ts";
import { findChromium, launchChromium, NO_CHROMIUM, openPage, type WatchedPage } from "./support/browser.ts";
import { startLoad } from "./support/load.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem, startBroker, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** Where a browser has to be there, as in CI, the tests fail without one; elsewhere they are skipped, and say so. */
const isSkipped = findChromium() === undefined && process.env["TEST_BROWSER"] !== "required";
if (isSkipped) console.warn(`SKIPPED tests/dashboard-browser.test.ts: ${NO_CHROMIUM}`);

/** A page that hears nothing for this long has noticed, in ms. */
const NOTICED_MS = 10_000;

/** A worker that is killed has to be seen within this time, in ms. */
const SEEN_WITHIN_MS = 3_000;

/** What else the machine does may hold up the news of one kill; who is slow to tell is so each time. */
const DISTURBED = { retry: 2 };

/** How long it may take until the charts show what happens, in ms. */
const DRAWN_MS = 20_000;

/** Run in the page: nothing is wider than the screen. */
const FITS = `document.documentElement.scrollWidth <= innerWidth`;

/** Run in the page: the share of the first chart that has the colour of what is ok in the light theme. */
const SHARE_OF_OK = `(() => {
  const canvas = document.querySelector("#chart-throughput canvas");
  // From a copy: the browser warns of a chart that is read again and again.
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i] === 0x56 && data[i + 1] === 0xb4 && data[i + 2] === 0xe9) count++;
  return (4 * count) / data.length;
})()`;

let browser: Browser;

beforeAll(async () => {
  if (!isSkipped) browser = await launchChromium();
});
afterAll(() => browser?.close());

async function open(url: string, width = 1280): Promise<WatchedPage> {
  const opened = await openPage(browser, { url, width, theme: "light" });
  onTestFinished(() => opened.page.context().close());
  return opened;
}

/** Says to be a worker that serves a model, as anybody can who reaches the port. Ours take no such names. */
function claimWorker(address: string, { name, model }: { name: string; model: string }): Disposable {
  const socket = new Dealer({ linger: 0 });
  let seq = 0;
  const say = (message: Message): void =>
    void socket.send(encodeMessage(message, { epoch: "00000000deadbeef", seq: ++seq })).catch(() => {});
  const tensor = { datatype: "FP32", shape: [-1, 2] } as const;
  const described = {
    name: model,
    version: "1",
    state: "ready" as const,
    reason: "",
    platform: "none",
    digest: "",
    batching: true,
    maxBatchSize: 8,
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    maxRequestRows: 8,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
    inputs: [{ name: "x", ...tensor }],
    outputs: [{ name: "y", ...tensor }],
  };
  const hello = { pool: "default", pingIntervalMs: 500, features: [], proof: Buffer.alloc(0) };
  const load = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [2], dispatched: [0] };
  const entry = { index: 0, memoryBytes: 0, fingerprint: "", buckets: [], curve: [], model: described, slots: [] };
  socket.connect(address);
  say({ command: "HELLO", role: "worker", instance: name, slots: 1, bytesMax: 1_000, ...hello });
  say({ command: "MODELS", revision: 1, models: [entry] });
  const pings = setInterval(() => say({ command: "PING", ping: 1, ...load }), 500);
  return {
    [Symbol.dispose]: () => {
      clearInterval(pings);
      socket.close();
    },
  };
}

test.skipIf(isSkipped)("the page draws what happens, and loads nothing from elsewhere", DISTURBED, async () => {
  await using folder = await temporaryFolder();
  const [path = ""] = await writeModels(folder.path, [perceptronModel()]);
  await using system = await DevSystem.start({ models: folder.path, workers: 2, args: ["--threads", "1"] });
  const admin = system.addresses["broker-1"]?.["admin"] ?? "";
  const pools = [{ model: "perceptron", path, rows: 100, seed: 1 }];
  const plan = { urls: system.urls, connections: 8, requests: Number.MAX_SAFE_INTEGER, pools, seed: 2 };
  await using load = await startLoad({ ...plan, prebuilt: 100, checkEvery: 10 });

  const { page, complaints, origins } = await open(`${admin}/dashboard`);
  await page.waitForSelector('tr[data-worker="worker-2"][data-state="active"]');
  await until(DRAWN_MS, "six charts", async () => (await page.locator("figure canvas").count()) === 6);
  expect(await page.title()).toBe("broker-1 · Millrace");
  // Playwright's waitForFunction is eval to the page's policy, which refuses it.
  await until(DRAWN_MS, "the load is drawn", async () => Number(await page.evaluate(SHARE_OF_OK)) > 0.005);
  expect(["–", "0"]).not.toContain(await page.locator("#chart-throughput .legend b").first().textContent());

  system.kill("worker-2");
  await page.waitForSelector('tr[data-worker="worker-2"][data-state="lost"]', { timeout: SEEN_WITHIN_MS });
  expect(await page.textContent("#events")).toContain("Worker lost worker-2");
  await page.selectOption("#model", { label: "perceptron" });
  expect(page.url()).toBe(`${admin}/dashboard?model=perceptron`);
  await page.waitForSelector("#decisions li :text('sent')");
  await page.waitForSelector('tr[data-worker="worker-2"][data-state="active"]', { timeout: 20_000 });
  await page.click("#theme");
  await page.click("#theme");
  expect(await page.getAttribute("html", "data-theme")).toBe("dark");
  expect(await page.evaluate(FITS)).toBe(true);
  expect([complaints, [...origins]]).toEqual([[], [admin]]);
  await load.stop();
  await system.stop();
});

test.skipIf(isSkipped)("what has no worker, no request or no connection says so", async () => {
  await using broker = await startBroker();
  const { page, complaints } = await open(`${broker.addresses["admin"]}/dashboard`, 390);
  await page.waitForSelector("text=No worker is connected.");
  await page.waitForSelector("text=No gateway is connected.");
  await page.waitForSelector("#state:text-is('no worker')");
  expect(await page.textContent("#workers")).toBe("No worker has connected yet.");

  await using folder = await temporaryFolder();
  await writeSimulatedModel(folder.path, { name: "slow", runMs: 1 });
  await using worker = await startWorker({ broker: broker.addresses["workers"] ?? "", models: folder.path });
  await page.waitForSelector("#state:text-is('serving')");
  expect(await page.textContent("#chart-latency")).toContain("No request in this time");
  await worker[Symbol.asyncDispose]();
  await page.waitForSelector("text=No worker serves slow.");
  expect(await page.evaluate(FITS)).toBe(true);
  expect(complaints).toEqual([]);

  await broker[Symbol.asyncDispose]();
  await page.waitForSelector("text=Connection lost, reconnecting.", { timeout: NOTICED_MS });
});

test.skipIf(isSkipped)("names from outside are text, whatever they hold", async () => {
  const hostile = `<img src=x onerror="document.title='taken'">&lt;'\u202e`;
  await using broker = await startBroker();
  using worker = claimWorker(broker.addresses["workers"] ?? "", { name: hostile, model: hostile });
  const query = new URLSearchParams({ model: hostile }).toString();
  const { page, complaints } = await open(`${broker.addresses["admin"]}/dashboard?${query}`);
  await page.waitForSelector('tr[data-state="active"]');
  await page.waitForSelector("#events :text('Model is served')");
  expect(await page.textContent("#events")).toContain(`Model is served ${hostile}`);
  expect(await page.textContent("#events")).toContain(`Worker connected ${hostile}`);
  expect(await page.textContent("#workers .name")).toBe(hostile);
  await page.waitForSelector("#decisions :text('Nothing has been decided yet')");
  expect(await page.textContent("#model")).toContain(hostile);
  worker[Symbol.dispose]();
  await page.waitForSelector("text=No worker serves <img");
  expect(await page.locator("main img, main script").count()).toBe(0);
  expect(await page.title()).not.toContain("taken");
  expect(complaints).toEqual([]);
});
