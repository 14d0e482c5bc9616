import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

/** Where Debian and others put Chromium; `TEST_CHROMIUM` names another one. */
const PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The browser's program, or undefined where none is installed. */
export function findChromium(): string | undefined {
  return [process.env["TEST_CHROMIUM"] ?? "", ...PROGRAMS].find((path) => path !== "" && existsSync(path));
}

/** What to do where there is none. */
export const NO_CHROMIUM = "no Chromium here: apt-get install chromium, or set TEST_CHROMIUM to a program";

/** Starts the browser without a window. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(NO_CHROMIUM);
  // Its sandbox does not start as root, and it opens nothing but what the tests serve.
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

export type OpenPageOptions = {
  readonly url: string;
  readonly width: number;
  readonly theme: "light" | "dark";
};

/** A page with what its console and its network complained of, and where it has asked for anything. */
export type WatchedPage = { readonly page: Page; readonly complaints: string[]; readonly origins: ReadonlySet<string> };

/** Opens a page as somebody with such a screen sees it. */
export async function openPage(browser: Browser, { url, width, theme }: OpenPageOptions): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width, height: width < 600 ? 844 : 800 },
    colorScheme: theme,
    deviceScaleFactor: width < 600 ? 2 : 1,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  const origins = new Set<string>();
  page.on("request", (request) => origins.add(new URL(request.url()).origin));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("requestfailed", (request) => {
    const fault = request.failure()?.errorText ?? "";
    // The page itself has closed a stream.
    if (fault !== "net::ERR_ABORTED") complaints.push(`${request.url()}: ${fault}`);
  });
  await page.goto(url);
  return { page, complaints, origins };
}
