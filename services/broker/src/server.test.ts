import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createLogger, OptionError } from "@millrace/runtime";
import { expect, onTestFinished, test, vi } from "vitest";
import { BrokerServer } from "./server.ts";

const FREE = "tcp://127.0.0.1:0";

function start(gatewayAddress: string, workerAddress: string): Promise<BrokerServer> {
  const logger = createLogger({ role: "broker", name: "b", level: "silent" });
  const bounds = { queueRowsMax: 10, queueBytesMax: 1_000, slotsMax: 4, testHoldMs: 0 };
  return BrokerServer.start({ instance: "b", ...bounds, gatewayAddress, workerAddress, logger });
}

async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `tcp://127.0.0.1:${port}`;
}

test("an address that is taken is named, and the other one is free again", async () => {
  const first = await start(FREE, FREE);
  onTestFinished(() => first.drain("the test is over"));
  const [taken, free] = [first.address("worker"), await freeAddress()];
  await expect(start(taken, FREE)).rejects.toThrow(OptionError);
  await expect(start(free, taken)).rejects.toThrow(`the broker cannot listen on ${taken} for workers`);
  // The system lets go of a port a little after it is closed.
  const last = await vi.waitFor(() => start(free, FREE));
  await last.drain("the test is over");
});
