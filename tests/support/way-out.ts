import { readFileSync } from "node:fs";

/** Whether the network of this process leads anywhere: whether it has a default route. */
export function hasWayOut(): boolean {
  let routes: string;
  try {
    routes = readFileSync("/proc/self/net/route", "utf8");
  } catch {
    // Not Linux: no telling.
    return true;
  }
  return routes.split("\n").some((line) => line.split("\t")[1] === "00000000");
}
