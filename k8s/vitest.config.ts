import { defineConfig } from "vitest/config";

/** What needs more than Node: `make k8s` and `make k8s-cluster`. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "manifests",
          root: import.meta.dirname,
          include: ["tests/manifests.test.ts"],
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: "cluster",
          root: import.meta.dirname,
          include: ["tests/cluster.test.ts"],
          testTimeout: 1_200_000,
        },
      },
    ],
  },
});
