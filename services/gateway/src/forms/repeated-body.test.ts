import fc from "fast-check";
import { expect, test } from "vitest";
import { ALL_JSON } from "./binary-body.ts";
import { type OipRequest, parseOipRequest } from "./oip-request.ts";
import { Refusal } from "../http/refusal.ts";
import { RepeatedBodies } from "./repeated-body.ts";
import { testModel } from "../testing.ts";

const model = testModel();

const parse = (body: Buffer): OipRequest | Refusal => parseOipRequest(body, model, ALL_JSON);

/** Knows the given body: what reads it afterwards is not the form. */
function bodiesThatKnow(text: string): RepeatedBodies<OipRequest> {
  const bodies = new RepeatedBodies<OipRequest>();
  const body = Buffer.from(text);
  const request = parse(body);
  if (request instanceof Refusal) throw new Error(request.message);
  bodies.learn(body, model, request);
  return bodies;
}

const bodyOf = (data: string): string =>
  `{"id":"é","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":${data}}]}`;

test.each([
  ["flat", "[1,2,3,4]", "[5, 6.5,-7e-1 ,8]"],
  ["nested", "[[1,2,3,4]]", "[[5,6,7,8]]"],
  ["with space", " [ [ 1, 2, 3, 4 ] ] ", " [ [ 0.1,0.2, 0.3 , 4 ] ] "],
])("a body that is known but for its numbers is read as the form reads it: %s", (_, first, next) => {
  const bodies = bodiesThatKnow(bodyOf(first));
  const body = Buffer.from(bodyOf(next));
  const request = bodies.read(body, model);
  expect(request).toBeDefined();
  expect(request).toEqual(parse(body));
  expect(request?.payload).toBe(request?.inputs[0]?.data);
});

test.each([
  [
    "a key in an escape",
    `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4],"d\\u0061ta":[1,2,3,4]}]}`,
  ],
  ["a key twice", `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[9,9,9,9],"data":[1,2,3,4]}]}`],
  [
    "a value that is called so",
    `{"id":"data","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}`,
  ],
  [
    "rows that are arrays of their own",
    `{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[[1,2,3,4],[5,6,7,8]]}]}`,
  ],
])("a body is not learned: %s", (_, text) => {
  expect(bodiesThatKnow(text).read(Buffer.from(text), model)).toBeUndefined();
});

test("models whose requests come in turn are learned one like the other", () => {
  const bodies = new RepeatedBodies<OipRequest>();
  const models = Array.from({ length: 16 }, () => testModel());
  const body = Buffer.from(bodyOf("[1,2,3,4]"));
  for (const each of models) bodies.learn(body, each, parse(body) as OipRequest);
  expect(models.map((each) => bodies.read(body, each))).toEqual(models.map(() => parse(body)));
});

test("what is known of one model is not used for another", () => {
  const text = bodyOf("[1,2,3,4]");
  expect(bodiesThatKnow(text).read(Buffer.from(text), testModel())).toBeUndefined();
});

test("a new kind of body takes the place of the old one, but not at once", () => {
  const bodies = bodiesThatKnow(bodyOf("[1,2,3,4]"));
  const other = Buffer.from(bodyOf("[1,2,3,4]").replace("é", "e"));
  const request = parse(other) as OipRequest;
  bodies.learn(other, model, request);
  expect(bodies.read(other, model)).toBeUndefined();
  for (let i = 0; i < 16; i++) bodies.learn(other, model, request);
  expect(bodies.read(other, model)).toEqual(request);
});

test("whatever is done to a known body, it is read as the form would, or left to it", () => {
  const known = Buffer.from(bodyOf("[1,2,3,4]"));
  const bodies = bodiesThatKnow(known.toString());
  const octet = fc.oneof(fc.constantFrom(...Buffer.from('0123456789.-+eE,[]{}": ')), fc.integer({ min: 0, max: 255 }));
  const edit = fc.record({
    at: fc.oneof(fc.nat(known.length), fc.integer({ min: known.indexOf("data"), max: known.length })),
    removed: fc.nat(3),
    added: fc.array(octet, { maxLength: 4 }),
  });
  let readHere = 0;
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let body = known;
      for (const { at, removed, added } of edits) {
        body = Buffer.concat([body.subarray(0, at), Buffer.from(added), body.subarray(at + removed)]);
      }
      const request = bodies.read(body, model);
      if (request === undefined) return;
      readHere++;
      expect(request).toEqual(parse(body));
    }),
    { numRuns: 20_000 },
  );
  expect(readHere).toBeGreaterThan(100);
});
