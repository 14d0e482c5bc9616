import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Exchange } from "../http/exchange.ts";

/** Everything comes from here; the page talks to this gateway alone. Icons of Swagger UI are data. */
const SECURITY_HEADERS = [
  "content-security-policy",
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options",
  "nosniff",
  "referrer-policy",
  "no-referrer",
  "cross-origin-resource-policy",
  "same-origin",
  // A gateway of another version may answer next time.
  "cache-control",
  "no-cache",
];

const own = (name: string): string => join(import.meta.dirname, "docs-page", name);
const swagger = (name: string): string => fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`));

/** The files of the page: path → where it is, and its type. */
export const DOCS_FILES: Readonly<Record<string, { readonly find: () => string; readonly type: string }>> = {
  "/docs": { find: () => own("index.html"), type: "text/html; charset=utf-8" },
  "/docs/start.js": { find: () => own("start.js"), type: "text/javascript; charset=utf-8" },
  "/docs/page.css": { find: () => own("page.css"), type: "text/css; charset=utf-8" },
  "/docs/swagger-ui.css": { find: () => swagger("swagger-ui.css"), type: "text/css; charset=utf-8" },
  "/docs/swagger-ui-bundle.js": { find: () => swagger("swagger-ui-bundle.js"), type: "text/javascript; charset=utf-8" },
  "/docs/icon.png": { find: () => swagger("favicon-32x32.png"), type: "image/png" },
};

/** Read when first asked for: most gateways are never asked, and it is two megabytes. */
const read = new Map<string, Buffer>();

/** Answers with a file of the page. `path` is one of `DOCS_FILES`. */
export function sendDocsFile(exchange: Exchange, path: string): void {
  const { find, type } = DOCS_FILES[path]!;
  const bytes = read.get(path) ?? readFileSync(find());
  read.set(path, bytes);
  exchange.send(200, ["content-type", type, ...SECURITY_HEADERS], [bytes]);
}
