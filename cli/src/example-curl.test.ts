import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fitsModel, makeExampleCurl, makeZeroBody, quoteForShell } from "./example-curl.ts";

const IMAGE = { name: "image", datatype: "FP32", shape: [-1, 2, 2] };

let server: Server | undefined;
let folder = "";
afterEach(() => {
  server?.close();
  if (folder !== "") rmSync(folder, { recursive: true });
  folder = "";
});

/** A gateway that has these models, all with the input IMAGE. */
function serve(index: object[], input: object = IMAGE): Promise<string> {
  const started = createServer((request, response) => {
    if (request.url === "/v2/repository/index" && request.method === "POST") response.end(JSON.stringify(index));
    else if (request.url?.startsWith("/v2/models/")) response.end(JSON.stringify({ inputs: [input] }));
    else response.writeHead(404).end("{}");
  });
  server = started;
  return new Promise((resolve) => {
    started.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(started.address() as AddressInfo).port}`));
  });
}

test("zeros have one row and the datatype's zero", () => {
  const body = makeZeroBody([IMAGE, { name: "text", datatype: "BYTES", shape: [-1, 1] }]);
  expect(JSON.parse(body ?? "")).toEqual({
    inputs: [
      { name: "image", shape: [1, 2, 2], datatype: "FP32", data: [0, 0, 0, 0] },
      { name: "text", shape: [1, 1], datatype: "BYTES", data: [""] },
    ],
  });
  expect(makeZeroBody([{ name: "flag", datatype: "BOOL", shape: [] }])).toContain('"data":[false]');
  expect(makeZeroBody([{ name: "half", datatype: "FP16", shape: [1] }])).toBeUndefined();
  expect(makeZeroBody([{ name: "huge", datatype: "FP32", shape: [1, 10_000, 10_000] }])).toBeUndefined();
});

test("an example fits when it names inputs that the model has", () => {
  expect(fitsModel({ inputs: [{ name: "image" }] }, [IMAGE])).toBe(true);
  expect(fitsModel({ inputs: [{ name: "other" }] }, [IMAGE])).toBe(false);
  expect([{ inputs: [] }, { data: [1] }, [3, 4], null].map((body) => fitsModel(body, [IMAGE]))).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

test.each(["plain/@file.json", "it's", '{"a": "$HOME `x`"}', "", "a b"])("a shell reads %j back", (argument) => {
  expect(execFileSync("sh", ["-c", `printf %s ${quoteForShell(argument)}`], { encoding: "utf8" })).toBe(argument);
});

test("asks the first ready model, with its example file where there is one", async () => {
  const url = await serve([
    { name: "broken", version: "1", state: "UNAVAILABLE", reason: "no" },
    { name: "digits", version: "1", state: "READY" },
  ]);
  folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  mkdirSync(join(folder, "digits"));
  expect(await makeExampleCurl(url, [folder])).toBe(
    `curl -s ${url}/v2/models/digits/infer -d '{"inputs":[{"name":"image","shape":[1,2,2],"datatype":"FP32","data":[0,0,0,0]}]}'`,
  );
  writeFileSync(join(folder, "digits", "a-labels.json"), "[1, 2]");
  writeFileSync(join(folder, "digits", "b.json"), JSON.stringify({ inputs: [{ name: "image" }] }));
  const curl = await makeExampleCurl(url, ["/nowhere", folder]);
  expect(curl).toMatch(/^curl -s http:\S+\/v2\/models\/digits\/infer -d @\S+\/digits\/b\.json$/);
});

test("a long body goes to a file", async () => {
  const url = await serve([{ name: "wide", version: "1", state: "READY" }], { ...IMAGE, shape: [-1, 9_999] });
  const file = / -d @(\S+)$/.exec((await makeExampleCurl(url, [])) ?? "")?.[1] ?? "";
  expect(execFileSync("cat", [file], { encoding: "utf8" })).toBe(makeZeroBody([{ ...IMAGE, shape: [1, 9_999] }]));
  rmSync(join(file, ".."), { recursive: true });
});

test("no ready model, no command", async () => {
  expect(await makeExampleCurl(await serve([{ name: "x", version: "1", state: "LOADING" }]), [])).toBeUndefined();
  expect(await makeExampleCurl("http://127.0.0.1:9", [])).toBeUndefined();
});
