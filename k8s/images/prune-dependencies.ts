/**
 * Makes a folder of production dependencies small: `node prune-dependencies.ts NODE_MODULES [PACKAGE...]`
 *
 * Loads the packages that have native parts, asks Node which libraries it has mapped, and removes all other native libraries
 * (other systems, processors, C libraries, releases of Node), and what nothing reads at run time: source maps, type
 * declarations, documentation, sources of native parts.
 */
import { globSync, lstatSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const NATIVE = ["**/*.node", "**/*.so", "**/*.so.*", "**/*.dylib", "**/*.dll"];
const UNREAD = [
  "**/*.{map,md,markdown,tsbuildinfo,flow}",
  "**/*.d.{ts,cts,mts}",
  "**/*.{c,cc,cpp,h,hpp,gyp}",
  "**/{test,tests}",
  "zod/src",
  // The page loads one of five bundles.
  "swagger-ui-dist/swagger-ui{,-es-bundle,-es-bundle-core,-standalone-preset}.js",
  ".package-lock.json",
];

const [folder = "", ...packages] = process.argv.slice(2);
const root = resolve(folder);
const require = createRequire(join(root, "index.js"));
for (const name of packages) require(name);
const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
const loaded = new Set(sharedObjects.filter((path) => path.startsWith(root)));
if (loaded.size < packages.length) throw new Error(`no native library of ${packages.join(", ")} was loaded`);

const before = bytesIn(root);
const others = globSync(NATIVE, { cwd: root }).filter((name) => !loaded.has(join(root, name)));
for (const name of [...others, ...globSync(UNREAD, { cwd: root })]) {
  rmSync(join(root, name), { recursive: true, force: true });
}
const toMiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
console.log(`${folder}: ${toMiB(before)} → ${toMiB(bytesIn(root))}`);

/** Bytes of the files in a folder; links to our own packages lead out of it and do not count. */
function bytesIn(path: string): number {
  const files = globSync("**/*", { cwd: path }).map((name) => lstatSync(join(path, name)));
  return files.filter((stat) => stat.isFile()).reduce((sum, { size }) => sum + size, 0);
}
