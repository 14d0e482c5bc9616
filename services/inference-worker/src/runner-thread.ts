import { parentPort, workerData } from "node:worker_threads";
import { createRunner, HostedModel } from "./hosted-model.ts";
import { RunnerError } from "./runner.ts";
import type { RunnerReply, RunnerRequest, RunnerThreadSetup } from "./runner-message.ts";
import { blockFor } from "./wait.ts";

/**
 * The thread behind one slot: holds the slot's models and does what it is told, one after the other. It may block as long as a
 * model takes; nothing else lives here. Entry point of a worker thread, started by runner-host.ts.
 */

const port = parentPort;
if (port === null) throw new Error("runner-thread.ts runs in a worker thread only");

const { threads, computeDelayMs, recalled } = workerData as RunnerThreadSetup;
const models = new Map<number, HostedModel>();

let queue: Promise<void> = Promise.resolve();
port.on("message", (request: RunnerRequest) => {
  queue = queue.then(() => answer(request));
});

/** Never rejects: what fails is told to the main thread. */
async function answer(request: RunnerRequest): Promise<void> {
  let reply: RunnerReply;
  try {
    reply = await perform(request);
  } catch (error) {
    const code = error instanceof RunnerError ? error.code : "internal";
    reply = { id: request.id, type: "failed", code, message: error instanceof Error ? error.message : String(error) };
  }
  port!.postMessage(reply, reply.type === "ran" ? reply.ran.outputs.map(({ data }) => data) : []);
  if (request.type === "close") port!.close();
}

async function perform(request: RunnerRequest): Promise<RunnerReply> {
  const { id } = request;
  switch (request.type) {
    case "load": {
      await unload(request.model);
      const { source, limits, sweepMs = 0 } = request;
      const model = await HostedModel.load(await createRunner(source, threads), { ...limits, sweepMs });
      models.set(request.model, model);
      return { id, type: "loaded", loaded: model.loaded };
    }
    case "run": {
      const model = models.get(request.model);
      if (model === undefined) throw new RunnerError("internal", `the slot has no model ${request.model}`);
      if (request.notAfterNs !== undefined) {
        const isRecalled = Atomics.load(recalled, id % recalled.length) === id;
        if (isRecalled || process.hrtime.bigint() >= request.notAfterNs) return { id, type: "skipped" };
      }
      const ran = await model.run(request.inputs);
      blockFor(computeDelayMs);
      return { id, type: "ran", ran: { ...ran, computeMs: ran.computeMs + computeDelayMs } };
    }
    case "unload":
      await unload(request.model);
      return { id, type: "done" };
    case "close":
      for (const model of models.keys()) await unload(model);
      return { id, type: "done" };
  }
}

async function unload(model: number): Promise<void> {
  const old = models.get(model);
  models.delete(model);
  await old?.unload();
}
