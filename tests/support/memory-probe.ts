/**
 * Preloaded into the processes of a system (see `memoryProbeEnvironment`), it collects all garbage for whoever connects to its
 * socket, and tells what is left. `resident` is all memory but for pages that V8 holds ready for its heap: between none and 60 MB,
 * as the young generation grows and shrinks with the load.
 */
import { createServer } from "node:net";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { FOLDER_VARIABLE } from "./memory-levels.ts";

const folder = process.env[FOLDER_VARIABLE];
const name = process.env["MILLRACE_NAME"];

if (isMainThread && folder !== undefined && name !== undefined) {
  const server = createServer((socket) => {
    globalThis.gc?.();
    const { rss, heapUsed, heapTotal, arrayBuffers } = process.memoryUsage();
    socket.on("error", () => {});
    socket.end(JSON.stringify({ rss, resident: rss - heapTotal + heapUsed, heap: heapUsed, arrayBuffers }));
  });
  server.listen(join(folder, name));
  server.unref();
}
