/**
 * Preloaded into the processes of a system (see `memoryProbeEnvironment`), it collects, in one of them, all garbage for whoever connects to
 * its socket, and tells what is left: `heap` is V8's, all of it; `code` is the part of it that V8 has compiled; `resident` is what the process has
 * in memory, of whatever kind.
 */
import { createServer, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { isMainThread } from "node:worker_threads";
import { PROCESS_VARIABLE, SOCKET_VARIABLE } from "./memory-levels.ts";

const path = process.env[SOCKET_VARIABLE];
const isMeant = isMainThread && process.env["MILLRACE_NAME"] === process.env[PROCESS_VARIABLE];

/** Spaces of bytecode, machine code and what belongs to them. */
const COMPILED = /^(?:code|trusted)_/;

/**
 * V8 optimizes what has run some thousand times: of a path that one request in a thousand takes that comes after three million of them, and
 * until then the heap grows by machine code, 1 to 2 % in ten minutes, and by nothing else (heap snapshots of such a run differ by code
 * and by what says which code depends on what). Here each function is compiled once, at its first call, with all that is to be
 * learned of types, and stays: so the heap has its size when each path was taken once, and what grows then is none of V8's.
 */
const COMPILE_ONCE = [
  "--no-turbofan",
  "--no-maglev",
  "--always-sparkplug",
  "--no-lazy-feedback-allocation",
  "--no-flush-bytecode",
];

/** What a collection's finalizers let go of goes in the next one, and the memory of buffers is free when the one behind has begun. */
const ROUNDS = 3;

/**
 * Collects as V8 does before it gives up for want of memory. An ordinary collection leaves as much as the moment has it: 1 MB of 20 that
 * only finalizers let go of, 30 MB of buffers that are freed later, and up to 60 MB of empty pages of the young generation.
 */
async function collectAll(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
    await turn();
  }
}

async function tellLevels(socket: Socket): Promise<void> {
  await collectAll();
  const { rss: resident, heapUsed: heap } = process.memoryUsage();
  const code = getHeapSpaceStatistics()
    .filter(({ space_name }) => COMPILED.test(space_name))
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
  socket.end(JSON.stringify({ resident, heap, code }));
}

if (isMeant && path !== undefined) {
  for (const flag of COMPILE_ONCE) setFlagsFromString(flag);
  const server = createServer((socket) => {
    socket.on("error", () => {});
    void tellLevels(socket);
  });
  server.listen(path);
  server.unref();
}
