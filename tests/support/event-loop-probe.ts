/**
 * Preloaded into the processes of a system (NODE_OPTIONS=--import), it watches the event loop of the main thread from inside,
 * and tells what it saw to whoever connects to its socket: see `takeSamples`.
 */
import { createServer } from "node:net";
import { join } from "node:path";
import { createHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import { FOLDER_VARIABLE, type LoopSamples, STALL_MS, TIMER_MS } from "./event-loop-samples.ts";

const folder = process.env[FOLDER_VARIABLE];
const name = process.env["MILLRACE_NAME"];

if (isMainThread && folder !== undefined && name !== undefined) watch(join(folder, name));

function watch(socketPath: string): void {
  const delays = monitorEventLoopDelay({ resolution: TIMER_MS });
  delays.enable();
  const timers = createHistogram();
  const cpu = createHistogram();
  let stalls = 0;
  const arm = (): void => {
    const fromMs = performance.now();
    const fromCpu = process.threadCpuUsage();
    const fire = (): void => {
      const tookMs = performance.now() - fromMs;
      const { user, system } = process.threadCpuUsage(fromCpu);
      cpu.record(Math.max(1, Math.round(user + system)));
      timers.record(Math.max(1, Math.round(tookMs * 1000)));
      if (tookMs > TIMER_MS + STALL_MS) stalls++;
      arm();
    };
    setTimeout(fire, TIMER_MS).unref();
  };
  arm();
  const server = createServer((socket) => {
    const samples: LoopSamples = {
      count: timers.count,
      stalls,
      timerMs: { p50: timers.percentile(50) / 1e3, p99: timers.percentile(99) / 1e3, max: timers.max / 1e3 },
      cpuMs: { p50: cpu.percentile(50) / 1e3, p99: cpu.percentile(99) / 1e3, max: cpu.max / 1e3 },
      delayMs: { p50: delays.percentile(50) / 1e6, p99: delays.percentile(99) / 1e6, max: delays.max / 1e6 },
    };
    stalls = 0;
    timers.reset();
    cpu.reset();
    delays.reset();
    socket.on("error", () => {});
    socket.end(JSON.stringify(samples));
  });
  server.listen(socketPath);
  server.unref();
}
