import { expect, test } from "vitest";
import { createLogger } from "./logger.ts";

test("writes JSON lines with ECS names", () => {
  const lines: string[] = [];
  const logger = createLogger({
    role: "broker",
    name: "broker-1",
    level: "info",
    destination: { write: (line) => void lines.push(line) },
  });
  logger.debug("not logged");
  logger.info({ model: "digits", "event.duration": 5 }, "model ready");
  logger.error({ error: new TypeError("bad", { cause: new Error("deeper") }) }, "failed");
  const [info, error] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(2);
  expect(info).toEqual({
    "@timestamp": expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    "log.level": "info",
    "ecs.version": "8.11.0",
    "service.name": "millrace-broker",
    "service.version": expect.stringMatching(/^\d+\.\d+\.\d+/),
    "service.node.name": "broker-1",
    "event.dataset": "millrace.broker",
    "labels.model": "digits",
    "event.duration": 5,
    message: "model ready",
  });
  expect(error).toMatchObject({
    "log.level": "error",
    error: {
      type: "TypeError",
      message: "bad",
      stack_trace: expect.stringContaining("TypeError: bad"),
      cause: { message: "deeper" },
    },
  });
});
