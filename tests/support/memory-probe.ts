/**
 * Preloaded into the processes of a system (see `memoryProbeEnvironment`), it collects all garbage for whoever connects to its
 * socket, and tells what is left. `resident` is all memory but for pages that V8 holds ready for its heap: between none and 60 MB,
 * as the young generation grows and shrinks with the load. `code` is the part of `heap` that V8 has compiled: in
 * millions of requests what is rare comes often enough for that.
 */
import { createServer } from "node:net";
import { join } from "node:path";
import { getHeapSpaceStatistics } from "node:v8";
import { isMainThread } from "node:worker_threads";
import { FOLDER_VARIABLE } from "./memory-levels.ts";

const folder = process.env[FOLDER_VARIABLE];
const name = process.env["MILLRACE_NAME"];

/** Spaces of bytecode, machine code and what belongs to them. */
const COMPILED = /^(?:code|trusted)_/;

if (isMainThread && folder !== undefined && name !== undefined) {
  const server = createServer((socket) => {
    globalThis.gc?.();
    const { rss, heapUsed, heapTotal, arrayBuffers } = process.memoryUsage();
    const code = getHeapSpaceStatistics()
      .filter(({ space_name }) => COMPILED.test(space_name))
      .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
    socket.on("error", () => {});
    socket.end(JSON.stringify({ rss, resident: rss - heapTotal + heapUsed, heap: heapUsed, code, arrayBuffers }));
  });
  server.listen(join(folder, name));
  server.unref();
}
