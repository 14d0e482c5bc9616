import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "@millrace/runtime";
import { Curve, curvePage } from "@millrace/scheduling";
import { expect, onTestFinished, test } from "vitest";
import { CurveFolder } from "./curve-folder.ts";

const FINGERPRINT = "0123456789abcdef/cpu/2/Some-Processor-@-2.40GHz";

async function open(dir?: string) {
  const root = await mkdtemp(join(tmpdir(), "millrace-"));
  onTestFinished(() => rm(root, { recursive: true }));
  const path = dir ?? join(root, "made", "when needed");
  const warnings: unknown[] = [];
  const logger = { warn: (fields: unknown, text: string) => warnings.push([text, fields]) } as unknown as Logger;
  return { root, path, warnings, folder: new CurveFolder(path, logger) };
}

function changedOf(fingerprint = FINGERPRINT, ms = 2) {
  const curve = new Curve();
  curve.record(1, ms);
  return [{ fingerprint, page: curvePage([{ model: "m", version: "1", bucket: "", fingerprint, curve }]) }];
}

test("what is written is read, and nothing else is left in the folder", async () => {
  const { folder, path, warnings } = await open();
  expect(await folder.read(FINGERPRINT)).toEqual([]);
  await Promise.all([folder.write(changedOf(FINGERPRINT, 7)), folder.write(changedOf())]);
  expect(await folder.read(FINGERPRINT)).toMatchObject([{ model: "m", points: [{ rows: 1, q50Ms: 2, samples: 1 }] }]);
  expect(await readdir(path)).toEqual(["0123456789abcdef_cpu_2_Some-Processor-@-2.40GHz.json"]);
  expect(warnings).toEqual([]);
});

test("workers that share a folder, and a process id as in containers, do not write into each other's file", async () => {
  const first = await open();
  const all = [first, ...(await Promise.all(Array.from({ length: 7 }, () => open(first.path))))];
  await Promise.all(all.map(({ folder }, i) => folder.write(changedOf(FINGERPRINT, i + 1))));
  expect(all.flatMap(({ warnings }) => warnings)).toEqual([]);
  expect(await first.folder.read(FINGERPRINT)).toHaveLength(1);
  expect(await readdir(first.path)).toHaveLength(1);
});

test.each<[string, (text: string) => string, RegExp]>([
  ["cut off", (text) => text.slice(0, -9), /is not JSON/],
  ["empty", () => "", /is not JSON/],
  ["of a later version", (text) => text.replace("curves/1", "curves/2"), /does not say "format"/],
  [
    "of another kind of worker",
    (text) => text.replaceAll("/cpu/2/", "/cpu/4/"),
    /is of another kind of worker: .*\/cpu\/4\//,
  ],
])("a file that is %s is ignored with one line in the log", async (_, damage, reason) => {
  const { folder, path, warnings } = await open();
  await folder.write(changedOf());
  const [name = ""] = await readdir(path);
  await writeFile(join(path, name), damage(await readFile(join(path, name), "utf8")));
  expect(await folder.read(FINGERPRINT)).toEqual([]);
  expect(warnings).toMatchObject([["curves are not used", { reason: expect.stringMatching(reason) }]]);
  await folder.write(changedOf());
  expect(await folder.read(FINGERPRINT)).toHaveLength(1);
});

test("a place that cannot be written to is told once, and costs nothing else", async () => {
  const { root } = await open();
  await writeFile(join(root, "file"), "");
  const { folder, warnings } = await open(join(root, "file", "folder"));
  await folder.write(changedOf());
  await folder.write(changedOf());
  expect(warnings).toMatchObject([["curves cannot be kept", {}]]);
});

test("a file that stands in the way of another is not half replaced", async () => {
  const { folder, path, warnings } = await open();
  await folder.write(changedOf());
  const [name = ""] = await readdir(path);
  await rm(join(path, name));
  await mkdir(join(path, name, "in the way"), { recursive: true });
  await folder.write(changedOf());
  expect(warnings).toHaveLength(1);
  expect(await readdir(path)).toEqual([name]);
});

test("without a folder nothing is kept", async () => {
  const { folder } = await open("");
  await folder.write(changedOf());
  expect(await folder.read(FINGERPRINT)).toEqual([]);
});
