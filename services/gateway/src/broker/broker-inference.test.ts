import {
  decodeMessage,
  encodeMessage,
  encodeTensorList,
  type Message,
  type ResultItem,
  type SubmitItem,
} from "@millrace/protocol";
import type { Logger } from "@millrace/runtime";
import { openRouter } from "@millrace/transport";
import { expect, onTestFinished, test, vi } from "vitest";
import { BrokerInference } from "./broker-inference.ts";
import type { InferenceAnswer, InferenceRequest } from "./inference.ts";
import { SplitInference } from "./split-inference.ts";
import { testModel, UNBOUNDED_RETRIES } from "../testing.ts";

const MODEL = testModel({
  maxBatchSize: 1,
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
});

type Line = { readonly fields: Record<string, unknown>; readonly text: string };

/** The gateway's side of a real connection to a broker that answers each SUBMIT with what `answer` makes of its items. */
async function connect(answer: (items: readonly SubmitItem[]) => ResultItem[], itemsMin: number) {
  const errors: Line[] = [];
  let seq = 0;
  const held: SubmitItem[] = [];
  const submits: number[] = [];
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (peer, frames) => {
      const decoded = decodeMessage(frames);
      if (!decoded.ok) throw new Error(decoded.fault);
      const send = (message: Message): void => {
        router.send(peer, encodeMessage(message, { epoch: "0123456789abcdef", seq: ++seq }));
      };
      const { message } = decoded;
      if (message.command === "HELLO") {
        const none = { pingIntervalMs: 0, lostAfterMs: 0, windowItems: 0, windowBytes: 0, features: [] };
        send({ command: "WELCOME", instance: "b", ...none });
        send({ command: "ROUTES", revision: 1, models: [{ route: 1, workers: 1, isDefault: true, model: MODEL }] });
      } else if (message.command === "SUBMIT") {
        held.push(...message.items);
        submits.push(message.items.length);
        if (held.length < itemsMin) return;
        const run = { batch: 1, worker: "w", batchRows: 1, batchWaitUs: 0, computeUs: 0, granted: 0 };
        send({ command: "RESULT", ...run, items: answer(held) });
      }
    },
    onGone: () => {},
    onTurnEnd: () => {},
  });
  const ready = Promise.withResolvers<void>();
  const line = (fields: Line["fields"], text: string): void => void errors.push({ fields, text });
  const inference = new BrokerInference({
    brokers: [router.address],
    discoveryIntervalMs: 1000,
    dnsServers: [],
    instance: "g",
    logger: { info: () => {}, debug: () => {}, warn: () => {}, error: line } as unknown as Logger,
    onReady: ready.resolve,
    testGatewayQueueMs: 0,
    retries: UNBOUNDED_RETRIES,
    linkMetrics: { opened: () => {}, lost: () => {}, givenUp: () => {} },
  });
  onTestFinished(async () => {
    inference.close();
    await router.close();
  });
  await ready.promise;
  return { inference, errors, submits };
}

function requestOf(requestId: string, rows = 1): InferenceRequest {
  const payload = Buffer.alloc(16 * rows);
  const inputs = [{ name: "x", datatype: "FP32" as const, shape: [rows, 4], data: payload }];
  const rest = { bucket: "", cost: rows, outputs: [], budgetMs: 10_000, priority: 0, tenant: "" };
  const model = { ...MODEL, maxRequestRows: 8 };
  return { model, rows, inputs, payload, requestId, ...rest };
}

function resultItem({ request, attempt, payload }: SubmitItem, given: Partial<ResultItem> = {}): ResultItem {
  const y = { name: "y", datatype: "FP32" as const, shape: [1, 4], bytes: 16 };
  const tensors = encodeTensorList({ tensors: [y], outputs: [] });
  const none = { code: 0, retryAfterMs: 0, brokerQueueUs: 0, retryUs: 0, text: "" };
  return { request, attempt, ...none, payload, tensors, ...given };
}

test("many requests leave in the middle of a turn, and the rest at its end", async () => {
  const { inference, submits } = await connect((items) => items.map((item) => resultItem(item)), 100);
  const answered = Array.from({ length: 100 }, (_, i) => {
    const { promise, resolve } = Promise.withResolvers<InferenceAnswer>();
    inference.submit(requestOf(`r${i}`), resolve);
    return promise;
  });
  expect((await Promise.all(answered)).every(({ ok }) => ok)).toBe(true);
  expect(submits).toEqual([32, 32, 32, 4]);
});

test("what is broken in a message costs nobody else in it the answer", async () => {
  const { inference, errors } = await connect((items) => {
    const [a, b, c, d, e] = items as [SubmitItem, SubmitItem, SubmitItem, SubmitItem, SubmitItem];
    return [
      resultItem(a),
      resultItem(b, { tensors: Buffer.from([0xc1]) }),
      resultItem({ ...c, request: 4_000_000 }),
      resultItem(c, { payload: Buffer.alloc(15) }),
      resultItem(a),
      resultItem(d),
      resultItem(e),
    ];
  }, 5);
  const answers = await Promise.all(
    ["a", "b", "c", "d", "e"].map(async (id) => {
      const answer = Promise.withResolvers<InferenceAnswer>();
      inference.submit(requestOf(id), (given) => {
        answer.resolve(given);
        if (id === "d") throw new Error("planted");
      });
      const given = await answer.promise;
      return given.ok ? "ok" : given.code;
    }),
  );
  expect(answers).toEqual(["ok", "internal", "internal", "ok", "ok"]);
  // It throws at the second word, too.
  expect(errors.map(({ fields, text }) => [fields["http.request.id"], (fields.error as Error).message, text])).toEqual([
    ["d", "planted", "an answer met a defect"],
    ["d", "planted", "a request is left without an answer, by a defect"],
  ]);
});

test("who throws at an answer before passing it on hears of a defect in its place", async () => {
  const { inference } = await connect((items) => items.map((item) => resultItem(item)), 4);
  const split = new SplitInference(inference);
  const heard = Promise.withResolvers<InferenceAnswer>();
  const neighbour = Promise.withResolvers<InferenceAnswer>();
  const concat = vi.spyOn(Buffer, "concat").mockImplementation(() => {
    throw new RangeError("Array buffer allocation failed");
  });
  onTestFinished(() => concat.mockRestore());
  split.submit(requestOf("large", 3), heard.resolve);
  split.submit(requestOf("small"), neighbour.resolve);
  expect(await heard.promise).toMatchObject({ ok: false, code: "internal" });
  expect(await neighbour.promise).toMatchObject({ ok: true });
});
