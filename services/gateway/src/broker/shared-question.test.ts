import { expect, test } from "vitest";
import { SharedQuestion } from "./shared-question.ts";

test("whoever asks while a question is out shares the next one, and each has one answer", () => {
  const out: ((answer: string) => void)[] = [];
  const question = new SharedQuestion<string>((onAnswer) => void out.push(onAnswer));
  const told: string[] = [];
  question.ask((answer) => told.push(`first: ${answer}`));
  for (let i = 0; i < 3; i++) question.ask((answer) => told.push(`${i}: ${answer}`));
  expect([out.length, told]).toEqual([1, []]);
  out[0]!("a");
  expect([out.length, told]).toEqual([2, ["first: a"]]);
  out[1]!("b");
  expect(told).toEqual(["first: a", "0: b", "1: b", "2: b"]);
  question.ask((answer) => told.push(`last: ${answer}`));
  out[2]!("c");
  expect([out.length, told.at(-1)]).toEqual([3, "last: c"]);
});

test("an answer at once is one too", () => {
  const question = new SharedQuestion<number>((onAnswer) => onAnswer(7));
  const told: number[] = [];
  for (let i = 0; i < 3; i++) question.ask((answer) => told.push(answer));
  expect(told).toEqual([7, 7, 7]);
});
