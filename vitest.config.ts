import { defineConfig } from "vitest/config";

/** As the worker does it: onnxruntime tells nobody of our runs. */
const QUIET = { ORT_DISABLE_TELEMETRY: "1" };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          env: QUIET,
          include: [
            "libs/**/*.test.ts",
            "services/**/*.test.ts",
            "cli/**/*.test.ts",
            "clients/**/*.test.ts",
            "docs/**/*.test.ts",
            "bench/**/*.test.ts",
          ],
          // Property tests take a second or two; on a machine that is busy with other things many times that.
          testTimeout: 60_000,
          // Node itself loads them, as in a gateway: what vitest loads does not meet the gateway's way of finding `@millrace/hooks`.
          server: { deps: { external: [/\/hooks\.ts$/] } },
        },
      },
      {
        test: {
          name: "system",
          env: QUIET,
          include: ["tests/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Real processes share two cores: run the files one after another so that none starves another.
          fileParallelism: false,
        },
      },
    ],
  },
});
