import { expect, test } from "vitest";
import { memoryProbeEnvironment, takeLevels } from "./memory-levels.ts";
import { StartedProcess } from "./started-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const OBJECTS_BYTES = 1_000_000;
const BUFFER_BYTES = 16_000_000;

/** Does something with memory at a signal, and says so. */
const PROGRAM = `
  const held = [];
  const objects = () => Array.from({ length: ${OBJECTS_BYTES} / 20 }, (_, i) => ({ i }));
  const buffer = () => Buffer.alloc(${BUFFER_BYTES}, 1);
  const acts = {
    SIGUSR2: () => { objects(); buffer(); },
    SIGHUP: () => held.push(objects()),
    SIGWINCH: () => held.push(buffer()),
  };
  for (const [signal, act] of Object.entries(acts)) process.on(signal, () => { act(); console.log(signal); });
  setInterval(() => {}, 1e6);
  console.log("ready");
`;

test("what is held counts, in the heap and beside it, and what was dropped does not", { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder();
  // Left to itself malloc keeps what the dropped buffer took for the next one, and holding that changes nothing.
  const malloc = { MALLOC_MMAP_THRESHOLD_: "65536", MALLOC_TRIM_THRESHOLD_: "65536" };
  const env = { ...memoryProbeEnvironment(folder.path, "watched"), ...malloc, MILLRACE_NAME: "watched" };
  await using watched = new StartedProcess({ argv: ["-e", PROGRAM], env });
  await watched.log.waitFor(/^ready/);
  const levelsAfter = async (signal: NodeJS.Signals): Promise<{ heap: number; resident: number }> => {
    const from = watched.log.lines.length;
    watched.signal(signal);
    await watched.log.waitFor(new RegExp(`^${signal}`), { from });
    const { heap = NaN, resident = NaN } = await takeLevels(folder.path);
    return { heap, resident };
  };
  await levelsAfter("SIGUSR2");
  const before = await levelsAfter("SIGUSR2");
  const dropped = await levelsAfter("SIGUSR2");
  expect(Math.abs(dropped.heap - before.heap)).toBeLessThan(OBJECTS_BYTES / 10);
  expect(Math.abs(dropped.resident - before.resident)).toBeLessThan(BUFFER_BYTES / 10);
  const objects = await levelsAfter("SIGHUP");
  expect(objects.heap - dropped.heap).toBeGreaterThan(OBJECTS_BYTES);
  const buffer = await levelsAfter("SIGWINCH");
  expect(buffer.heap - objects.heap).toBeLessThan(OBJECTS_BYTES / 10);
  expect(buffer.resident - objects.resident).toBeGreaterThan(0.9 * BUFFER_BYTES);
});
