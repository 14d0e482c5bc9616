import { expect, test } from "vitest";
import { processorLimitOf, wholeProcessors } from "./processors.ts";

/** The limit that a process finds among these files. */
function limitIn(files: Readonly<Record<string, string>>): number | undefined {
  return processorLimitOf((path) => (Object.hasOwn(files, path) ? files[path] : undefined));
}

const V1 = "12:cpu,cpuacct:/docker/abc\n11:memory:/docker/abc\n0::/\n";

test("version 2: quota over period, in a container and on a host where groups lie in groups", () => {
  expect(limitIn({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n" })).toBe(1.5);
  const host = {
    "/proc/self/cgroup": "0::/kubepods/pod1/abc\n",
    "/sys/fs/cgroup/kubepods/cpu.max": "400000 100000\n",
    "/sys/fs/cgroup/kubepods/pod1/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/kubepods/pod1/abc/cpu.max": "300000 100000\n",
  };
  expect(limitIn(host)).toBe(3);
  expect(limitIn({ ...host, "/sys/fs/cgroup/kubepods/cpu.max": "50000 100000\n" })).toBe(0.5);
});

test("version 1: the container's own group is the root of the mount, whatever the path says", () => {
  const inside = { "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n" };
  expect(
    limitIn({ "/proc/self/cgroup": V1, ...inside, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n" }),
  ).toBe(2);
  expect(
    limitIn({ "/proc/self/cgroup": V1, ...inside, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n" }),
  ).toBeUndefined();
  const host = {
    "/proc/self/cgroup": "1:cpu:/docker/abc\n",
    "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "25000\n",
    "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "50000\n",
  };
  expect(limitIn(host)).toBe(0.5);
});

test.each<[string, Readonly<Record<string, string>>]>([
  ["no control groups", {}],
  ["no limit", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }],
  ["a limit of nothing", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "0 0\n" }],
  [
    "a group of memory alone",
    {
      "/proc/self/cgroup": "3:memory:/\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "1\n",
    },
  ],
  [
    "files of something else",
    { "/proc/self/cgroup": "what\n0::\n:::\n0::/../../x\n", "/sys/fs/cgroup/cpu.max": "one two\n" },
  ],
])("%s: no limit is found", (_, files) => {
  expect(limitIn(files)).toBeUndefined();
});

test("threads are whole: no more than the limit, no more than there are processors, one at least", () => {
  expect(wholeProcessors({ count: 8, limit: undefined })).toBe(8);
  expect(wholeProcessors({ count: 8, limit: 2.9 })).toBe(2);
  expect(wholeProcessors({ count: 2, limit: 64 })).toBe(2);
  expect(wholeProcessors({ count: 8, limit: 0.25 })).toBe(1);
});
