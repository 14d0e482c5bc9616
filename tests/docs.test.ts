import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./support/repository.ts";

const IGNORED = new Set(["node_modules", ".git", ".cache", ".venv", "coverage"]);

function filesOf(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT, exclude: (path) => path.split("/").some((part) => IGNORED.has(part)) }).sort();
}

const PAGES = filesOf("**/*.md");

/** A Markdown page without what stands in fenced blocks: those show trees, commands and answers. */
function proseOf(page: string): string {
  return readFileSync(join(ROOT, page), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
}

/** Headings as GitHub turns them into anchors. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = [...proseOf(page).matchAll(/^#+ +(.*)$/gm)].map(([, text = ""]) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** Targets of links that lead to a place in this repository. */
function linksOf(page: string): { readonly path: string; readonly anchor: string }[] {
  const targets = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = "", anchor = ""] = target.split("#");
      return { path: path === "" ? page : normalize(join(dirname(page), path)), anchor };
    });
}

/** Top-level names of the repository: what starts with one of them and a slash claims to be a path. */
const TOP = readdirSync(ROOT).filter((name) => !IGNORED.has(name));

const MAKE_TARGETS = [...readFileSync(join(ROOT, "Makefile"), "utf8").matchAll(/^([a-z0-9-]+):/gm)].map(
  ([, name]) => name,
);

/** Paths in `code`: from the root, or beside the page. Placeholders, globs and commands are none. */
function pathsOf(page: string): string[] {
  const spans = [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, text = ""]) => text);
  return spans.filter((text) => /^[\w.@-]+(\/[\w.@-]+)+\/?$/.test(text) && TOP.includes(text.split("/", 1)[0] ?? ""));
}

test.for(PAGES)("%s: every link, path and make target is there", (page) => {
  for (const { path, anchor } of linksOf(page)) {
    expect(existsSync(join(ROOT, path)), `link to ${path}`).toBe(true);
    if (anchor !== "") expect([...anchorsOf(path)], `link to ${path}`).toContain(anchor);
  }
  for (const path of pathsOf(page)) {
    const isThere = existsSync(join(ROOT, path)) || existsSync(join(ROOT, dirname(page), path));
    expect(isThere, `path ${path}`).toBe(true);
  }
  const commands = readFileSync(join(ROOT, page), "utf8").matchAll(/(?:^|`)make((?: [a-z]+)+)(?=`|$)/gm);
  for (const [, names = ""] of commands) expect(MAKE_TARGETS).toEqual(expect.arrayContaining(names.trim().split(" ")));
});

test("the places that are looked for are found", () => {
  expect(PAGES).toEqual(expect.arrayContaining(["README.md", "docs/protocol.md", "models/digits/README.md"]));
  expect(linksOf("README.md")).toContainEqual({ path: "docs/errors.md", anchor: "" });
  expect(pathsOf("CONTRIBUTING.md")).toEqual(expect.arrayContaining([".ci/run", "libs/protocol/src/command.ts"]));
});

test("tests/README.md lists every system test", () => {
  const listed = [...proseOf("tests/README.md").matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = ""]) => name);
  expect(listed.toSorted()).toEqual(
    readdirSync(join(ROOT, "tests"))
      .filter((name) => name.endsWith(".test.ts"))
      .sort(),
  );
});

type Manifest = {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};

/** Every dependency of every package of this repository that is not one of them, with its version. */
function dependencies(): ReadonlyMap<string, string> {
  const manifests = filesOf("**/package.json").map(
    (path) => JSON.parse(readFileSync(join(ROOT, path), "utf8")) as Manifest,
  );
  const own = new Set(manifests.map(({ name }) => name));
  const found = new Map<string, string>();
  for (const { dependencies = {}, devDependencies = {}, optionalDependencies = {} } of manifests) {
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
      if (own.has(name)) continue;
      expect([version, undefined], `one version of ${name}`).toContain(found.get(name));
      found.set(name, version);
    }
  }
  return found;
}

test("dependencies are pinned exactly, to one version each", () => {
  for (const [name, version] of dependencies()) expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
});

test("docs/dependencies.md gives the reasons for exactly the dependencies that are there", () => {
  const rows = [...proseOf("docs/dependencies.md").matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = ""]) => cell);
  const listed = rows.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name));
  expect(listed.toSorted()).toEqual([...dependencies().keys()].toSorted());
});
