import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decodeMessage, decodeTensorList, encodeMessage, encodeTensorList } from "../codec.ts";
import { COMMANDS } from "../command.ts";
import type { Message, TensorList } from "../message.ts";
import { contentToJson, createVectors, jsonToBytes, jsonToContent, type JsonVectors } from "./vector.ts";

const path = new URL("../../vectors/mrp1.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as JsonVectors;

for (const { name, preamble, message, frames } of vectors.messages) {
  test(`vector: ${name}`, () => {
    const bytes = frames.map(jsonToBytes);
    expect(encodeMessage(jsonToContent(message) as Message, preamble).map((frame) => Buffer.from(frame))).toEqual(
      bytes,
    );
    const decoded = decodeMessage(bytes);
    expect(decoded).toMatchObject({ ok: true, preamble });
    if (decoded.ok) expect(contentToJson(decoded.message)).toEqual(message);
  });
}

for (const { name, content, bytes } of vectors.tensorLists) {
  test(`vector: tensor list ${name}`, () => {
    expect(encodeTensorList(jsonToContent(content) as TensorList)).toEqual(jsonToBytes(bytes));
    expect(contentToJson(decodeTensorList(jsonToBytes(bytes)))).toEqual(content);
  });
}

for (const { name, message, frames } of vectors.tolerated) {
  test(`vector: tolerated: ${name}`, () => {
    const decoded = decodeMessage(frames.map(jsonToBytes));
    expect(decoded).toMatchObject({ ok: true });
    if (decoded.ok) expect(contentToJson(decoded.message)).toEqual(message);
  });
}

for (const { name, answer, frames } of vectors.malformed) {
  test(`vector: malformed: ${name}`, () => {
    expect(decodeMessage(frames.map(jsonToBytes))).toMatchObject({ ok: false, answer: answer ?? undefined });
  });
}

test("every command has a vector, and names are unique", () => {
  expect(new Set(vectors.messages.map(({ message }) => message["command"]))).toEqual(new Set(Object.keys(COMMANDS)));
  for (const list of [vectors.messages, vectors.tensorLists, vectors.tolerated, vectors.malformed]) {
    expect(new Set(list.map(({ name }) => name)).size).toBe(list.length);
  }
});

test("the file is what vectors/write.ts writes: a difference is a change of the wire, to be made on purpose", () => {
  expect(vectors).toEqual(createVectors());
});
