import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AdminHandler } from "@millrace/runtime";

const PAGE = join(import.meta.dirname, "page");

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Everything comes from here, and nothing is run that stands in the page itself. */
const SECURITY_HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

/** The files of the page by their path, read once: the page itself, its scripts and style, and uPlot's. */
export function pageRoutes(): Record<string, AdminHandler> {
  const uplot = (name: string): string => fileURLToPath(import.meta.resolve(`uplot/dist/${name}`));
  const routes: Record<string, AdminHandler> = {
    "/dashboard": file(join(PAGE, "index.html")),
    "/dashboard/uplot.js": file(uplot("uPlot.iife.min.js")),
    "/dashboard/uplot.css": file(uplot("uPlot.min.css")),
  };
  for (const name of readdirSync(PAGE)) {
    if ([".js", ".css", ".svg"].includes(extname(name))) routes[`/dashboard/${name}`] = file(join(PAGE, name));
  }
  return routes;
}

function file(path: string): AdminHandler {
  const bytes = readFileSync(path);
  const headers = {
    ...SECURITY_HEADERS,
    "content-type": TYPES[extname(path)] ?? "application/octet-stream",
    "content-length": bytes.byteLength,
    // A broker of another version may answer next time.
    "cache-control": "no-cache",
  };
  return (request, response) => {
    response.writeHead(200, headers);
    response.end(request.method === "HEAD" ? undefined : bytes);
  };
}
