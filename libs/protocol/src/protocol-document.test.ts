import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { HELLO_EVERY_MS, LOST_AFTER_MS, PING_EVERY_MS } from "./client-session.ts";
import { encodeMessage } from "./codec.ts";
import { COMMANDS } from "./command.ts";
import { DATATYPES } from "./datatype.ts";
import { ERROR_CODES } from "./error-code.ts";
import { LIMITS } from "./limits.ts";
import { JOB_FLAGS, REQUEST_FLAGS } from "./message.ts";
import { GOLDEN_MESSAGES, protocolTables } from "./testing.ts";

type Section = { readonly marker: string; readonly text: string };

/** What stands behind each `<!-- marker -->` of a page, up to the next one. */
function sectionsOf(page: string): readonly Section[] {
  const text = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/<!-- (.+?) -->([\s\S]*?)(?=<!-- |$)/g)].map(([, marker, rest]) => ({
    marker: marker!,
    text: rest!,
  }));
}

/** The cells of the first table in a section, without its head, without backticks. */
function tableOf({ marker, text }: Section): readonly (readonly string[])[] {
  const table = /^\n*((?:\|.*\|\n)+)/.exec(text);
  if (table === null) throw new Error(`no table follows <!-- ${marker} -->`);
  const rows = table[1]!.trimEnd().split("\n");
  return rows.slice(2).map((row) => {
    const cells = row.slice(1, -1).split("|");
    return cells.map((cell) => cell.trim().replaceAll("`", ""));
  });
}

const protocol = sectionsOf("protocol.md");

function protocolTable(marker: string): readonly (readonly string[])[] {
  const found = protocol.filter((section) => section.marker === marker);
  expect([marker, found.length]).toEqual([marker, 1]);
  return tableOf(found[0]!);
}

test("protocol.md: the table of commands is that of the code", () => {
  const rows = Object.entries(COMMANDS).map(([command, { number, flow, meaning }]) => [
    `0x${number.toString(16).padStart(2, "0")}`,
    command,
    flow,
    meaning,
  ]);
  rows.sort(([a], [b]) => (a! < b! ? -1 : 1));
  expect(protocolTable("commands")).toEqual(rows);
});

test("protocol.md: every struct of the wire has its table, with its fields in their order and of their type", () => {
  const documented = new Map<string, readonly (readonly string[])[]>();
  for (const section of protocol) {
    if (!section.marker.startsWith("fields: ")) continue;
    for (const path of section.marker.slice("fields: ".length).split(", ")) {
      expect([path, documented.has(path)]).toEqual([path, false]);
      documented.set(path, tableOf(section));
    }
  }
  const tables = protocolTables();
  expect([...documented.keys()].toSorted()).toEqual([...tables.keys()].toSorted());
  for (const [path, rows] of tables) {
    const expected = rows.map(({ position, name, type }) => [String(position), name, type]);
    expect([path, documented.get(path)!.map((cells) => cells.slice(0, 3))]).toEqual([path, expected]);
    for (const [, name, , meaning] of documented.get(path)!) expect([path, name, meaning]).not.toContain("");
  }
});

test("protocol.md: flags, datatypes, limits and timers are those of the code", () => {
  for (const [command, flags] of [
    ["SUBMIT", REQUEST_FLAGS],
    ["JOB", JOB_FLAGS],
  ] as const) {
    const rows = Object.entries(flags).map(([name, value]) => [String(value), name]);
    expect(protocolTable(`flags: ${command}`).map((cells) => cells.slice(0, 2))).toEqual(rows);
  }
  const datatypes = Object.entries(DATATYPES).map(([name, { code, bytes }]) => [
    String(code),
    name,
    bytes === 0 ? "varies" : String(bytes),
  ]);
  expect(protocolTable("datatypes")).toEqual(datatypes);
  const limits = Object.entries(LIMITS).map(([name, value]) => [name, String(value)]);
  expect(new Map(protocolTable("limits").map(([name, value]) => [name, value]))).toEqual(
    new Map(limits as [string, string][]),
  );
  const timers = new Map(protocolTable("timers").map(([name, ms]) => [name, Number(ms)]));
  expect(timers.get("HELLO repeated")).toBe(HELLO_EVERY_MS);
  expect(timers.get("PING")).toBe(PING_EVERY_MS);
  expect(timers.get("LOST")).toBe(LOST_AFTER_MS);
});

test("protocol.md: the worked example is that of the vectors, to the byte", () => {
  const examples = protocol.filter(({ marker }) => marker.startsWith("frames: "));
  expect(examples.length).toBe(3);
  for (const { marker, text } of examples) {
    const golden = GOLDEN_MESSAGES.find(({ name }) => `frames: ${name}` === marker);
    if (golden === undefined) throw new Error(`no golden message for <!-- ${marker} -->`);
    const frames = encodeMessage(golden.message, golden.stamp).map((frame) => Buffer.from(frame).toString("hex"));
    const blocks = [...text.matchAll(/```\n([\s\S]*?)```/g)].map(([, block]) => block!);
    const written = blocks.map((block) => block.replaceAll(/;.*$/gm, "").replaceAll(/\s/g, ""));
    expect([marker, written]).toEqual([marker, frames]);
  }
});

test("errors.md: the table is that of the code", () => {
  const section = sectionsOf("errors.md").find(({ marker }) => marker === "errors");
  const rows = Object.entries(ERROR_CODES).map(([code, { number, http, retryable, fault, meaning }]) => {
    return [code, String(number), String(http), retryable ? "yes" : "no", fault, meaning];
  });
  expect(tableOf(section!)).toEqual(rows);
});
