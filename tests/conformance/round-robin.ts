import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * A balancer in front of several gateways, on a free port of loopback: each request of a connection goes to the next one, so that
 * nothing may rest on a gateway that has seen the client before. Leaving its scope closes it.
 */
export async function roundRobin(
  urls: readonly string[],
): Promise<AsyncDisposable & { readonly url: string; readonly counts: readonly number[] }> {
  const agent = new Agent({ keepAlive: true });
  const counts = urls.map(() => 0);
  let turn = 0;
  const forward = (asked: IncomingMessage, answer: ServerResponse): void => {
    const at = turn++ % urls.length;
    counts[at]! += 1;
    const { method, headers } = asked;
    const onward = request(new URL(asked.url ?? "/", urls[at]), { agent, method, headers });
    onward.on("response", (got) => {
      answer.writeHead(got.statusCode ?? 502, got.rawHeaders);
      got.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  };
  const server = createServer(forward);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts,
    [Symbol.asyncDispose]: async () => {
      agent.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
