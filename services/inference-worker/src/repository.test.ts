import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { scanRepository } from "./repository.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** A models folder with these files; the scan does not look into model files, so any text will do. */
async function folder(files: Readonly<Record<string, string>>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
  return dir;
}

async function scan(files: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  return summarize(await folder(files));
}

/** Each model as `name/version` to its file in the folder, or the reason why it cannot serve. */
async function summarize(dir: string): Promise<Record<string, string>> {
  const models = await scanRepository(dir);
  return Object.fromEntries(
    models.map((model) => {
      const key = `${model.name}/${model.version}`;
      if (model.state === "failed") return [key, model.reason];
      return [key, model.source.platform === "simulated" ? "simulated" : model.source.path.slice(dir.length + 1)];
    }),
  );
}

test("every layout is found: versions, a folder without versions, a bare file", async () => {
  expect(
    await scan({
      "versions/2/model.onnx": "",
      "versions/10/other.onnx": "",
      "versions/notes/README.md": "",
      "folder/model.onnx": "",
      "folder/second.onnx": "",
      "single/whatever.onnx": "",
      "bare.onnx": "",
      "README.md": "",
      ".hidden/model.onnx": "",
    }),
  ).toEqual({
    "bare/1": "bare.onnx",
    "folder/1": "folder/model.onnx",
    "single/1": "single/whatever.onnx",
    "versions/2": "versions/2/model.onnx",
    "versions/10": "versions/10/other.onnx",
  });
});

test("models are sorted by name, then by version as a number; a version loses its leading zeros", async () => {
  const files = {
    "b/007/model.onnx": "",
    "b/20240101123000/model.onnx": "",
    "b/9/model.onnx": "",
    "a/1/model.onnx": "",
  };
  expect(Object.keys(await scan(files))).toEqual(["a/1", "b/7", "b/9", "b/20240101123000"]);
});

test("the manifest and the digest come along", async () => {
  const files = `files: { 1/model.onnx: { sha256: ${sha256("one")} }, labels.txt: { sha256: ${sha256("labels")} } }`;
  const dir = await folder({
    "m/1/model.onnx": "one",
    "m/labels.txt": "labels",
    "m/model.yaml": `slo_ms: 20\n${files}`,
  });
  expect(await scanRepository(dir)).toMatchObject([
    { name: "m", version: "1", state: "found", path: "m/1", digest: sha256("one"), manifest: { sloMs: 20 } },
  ]);
});

test("a wrong digest breaks the version that it is for, or all where the file is theirs together", async () => {
  const expected = sha256("expected");
  const own = await scan({
    "m/1/model.onnx": "a",
    "m/2/model.onnx": "b",
    "m/model.yaml": `files: { 2/model.onnx: { sha256: ${expected} } }`,
  });
  expect(own).toEqual({
    "m/1": "m/1/model.onnx",
    "m/2": `2/model.onnx has the SHA-256 ${sha256("b")}, but model.yaml says ${expected}`,
  });
  const common = await scan({
    "m/1/model.onnx": "a",
    "m/model.yaml": `files: { labels.txt: { sha256: ${expected} } }`,
  });
  expect(common).toEqual({ "m/1": "labels.txt, which model.yaml lists, cannot be read: it does not exist" });
});

test("a simulated model needs no file, and may have versions", async () => {
  const manifest = `
platform: simulated
simulated: { inputs: [{ name: x, datatype: FP32, shape: [-1] }], outputs: [{ name: y, datatype: FP32, shape: [-1] }] }`;
  const files = { "sim/model.yaml": manifest, "many/model.yaml": manifest, "many/1/.keep": "", "many/3/.keep": "" };
  expect(await scan(files)).toEqual({ "many/1": "simulated", "many/3": "simulated", "sim/1": "simulated" });
});

test("what cannot serve says why, and the others serve", async () => {
  const long = "n".repeat(129);
  const result = await scan({
    "good/1/model.onnx": "",
    "typo/1/model.onnx": "",
    "typo/2/model.onnx": "",
    "typo/model.yaml": "max_batchsize: 8",
    "yaml/model.yaml": "a: [",
    "empty/README.md": "",
    "versionless/1/README.md": "",
    "several/1/a.onnx": "",
    "several/1/b.onnx": "",
    "bad name/1/model.onnx": "",
    "-x/1/model.onnx": "",
    [`${long}.onnx`]: "",
    "twice/1/model.onnx": "",
    "twice/01/model.onnx": "",
    "twice.onnx": "",
  });
  expect(result).toEqual({
    "good/1": "good/1/model.onnx",
    "typo/1": 'typo/model.yaml: unknown key "max_batchsize"',
    "typo/2": 'typo/model.yaml: unknown key "max_batchsize"',
    "yaml/1": expect.stringMatching(/^yaml\/model\.yaml: is not valid YAML: /),
    "empty/1": "no model file: neither empty/<version>/model.onnx nor empty/model.onnx exists",
    "versionless/1": "no model file: versionless/1/model.onnx does not exist",
    "several/1": "which file is the model? several/1 holds a.onnx, b.onnx, and none of them is model.onnx",
    "bad name/1": expect.stringMatching(/^its name may hold letters, digits/),
    "-x/1": expect.stringMatching(/no hyphen first/),
    [`${long}/1`]: expect.stringMatching(/at most 128/),
    "twice/1": "version 1 is there twice: twice.onnx and twice/01 and twice/1",
  });
});

test("links are followed wherever they lead, as in a Kubernetes volume", async () => {
  const elsewhere = await folder({ "model.onnx": "weights", "..data/m/1/model.onnx": "mounted" });
  const dir = await folder({ "plain/1/model.onnx": "" });
  await symlink(join(elsewhere, "model.onnx"), join(dir, "linked.onnx"));
  await symlink(join(elsewhere, "..data"), join(dir, "..data"));
  await symlink("..data/m", join(dir, "m"));
  await symlink("nowhere", join(dir, "lost"));
  await mkdir(join(dir, "half/1"), { recursive: true });
  await symlink("nowhere", join(dir, "half/1/model.onnx"));
  await mkdir(join(dir, "gone/1"), { recursive: true });
  await writeFile(join(dir, "gone/1/model.onnx"), "");
  await symlink("nowhere", join(dir, "gone/02"));
  await symlink("nowhere", join(dir, "gone/notes"));
  expect(await summarize(dir)).toEqual({
    "gone/1": "gone/1/model.onnx",
    "gone/2": "is a link that leads nowhere",
    "half/1": "cannot be read: it does not exist",
    "linked/1": "linked.onnx",
    "lost/1": "is a link that leads nowhere",
    "m/1": "m/1/model.onnx",
    "plain/1": "plain/1/model.onnx",
  });
});

test("a manifest that is a link to nowhere is no manifest that is missing: its model does not serve without it", async () => {
  const dir = await folder({ "m/1/model.onnx": "" });
  await symlink("nowhere", join(dir, "m/model.yaml"));
  expect(await summarize(dir)).toEqual({ "m/1": "m/model.yaml: is a link that leads nowhere" });
});

test("what cannot be looked at says why: a link in a circle is none that leads nowhere", async () => {
  const dir = await folder({ "good/1/model.onnx": "" });
  await symlink("circle", join(dir, "circle"));
  expect(await summarize(dir)).toEqual({
    "circle/1": expect.stringMatching(/^cannot be read: ELOOP/),
    "good/1": "good/1/model.onnx",
  });
});

test("a manifest that is a folder, and a models folder that is not there", async () => {
  expect(await scan({ "m/1/model.onnx": "", "m/model.yaml/x": "" })).toEqual({
    "m/1": "m/model.yaml: cannot be read: it is a folder",
  });
  const dir = await folder({});
  expect(await scanRepository(dir)).toEqual([]);
  await expect(scanRepository(join(dir, "none"))).rejects.toThrow(/--models .*none cannot be read: it does not exist/);
});
