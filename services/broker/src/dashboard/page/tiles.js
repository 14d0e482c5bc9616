import { make } from "./dom.js";
import { duration, percent, short } from "./format.js";

/** Seconds that the tiles sum up: one alone jumps about too much to be read. */
const SECONDS = 5;

/**
 * @typedef {object} Tile
 * @property {string} label
 * @property {string} value
 * @property {string} note
 * @property {"" | "warn" | "bad"} mood
 */

/**
 * The few numbers that are read first.
 *
 * @param {HTMLElement} place
 * @param {import("./history.js").History} history
 * @param {import("../frames.ts").Now} now
 */
export function showTiles(place, history, now) {
  const tiles = tilesOf(history, now);
  while (place.children.length < tiles.length) {
    place.append(make("div", { class: "tile" }, make("span", {}), make("strong", {}), make("small", {})));
  }
  for (const [i, { label, value, note, mood }] of tiles.entries()) {
    const tile = place.children[i];
    if (tile === undefined) continue;
    tile.className = `tile ${mood}`;
    for (const [at, text] of [label, value, note].entries()) {
      const line = tile.children[at];
      if (line !== undefined && line.textContent !== text) line.textContent = text;
    }
  }
}

/**
 * @param {import("./history.js").History} history
 * @param {import("../frames.ts").Now} now
 * @returns {Tile[]}
 */
function tilesOf(history, now) {
  const mean = (/** @type {string} */ name) => {
    const values = history.column(name).slice(-SECONDS);
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
  };
  const ok = mean("ok") ?? 0;
  const lost = ["shed", "expired", "error"].reduce((sum, name) => sum + (mean(name) ?? 0), 0);
  const oldestMs = history.latest("oldest_ms") ?? 0;
  // Who drains goes on running on slots that nobody offers any more.
  const [busy, slots] = [mean("busy") ?? 0, history.latest("slots") ?? 0];
  const isEmpty = ok + lost === 0;
  const suspects = now.table.filter(({ state }) => state === "suspect" || state === "draining").length;
  return [
    { label: "Throughput", value: `${short(ok)} /s`, note: "ok, mean of 5 s", mood: "" },
    {
      label: "Success",
      value: isEmpty ? "–" : percent(ok / (ok + lost)),
      note: isEmpty ? "no request in 5 s" : lost === 0 ? "none failed" : `${short(lost)} /s failed`,
      mood: lost === 0 ? "" : lost > 0.01 * (ok + lost) ? "bad" : "warn",
    },
    { label: "p50", value: duration(history.latest("p50")), note: "in the last second", mood: "" },
    { label: "p99", value: duration(history.latest("p99")), note: "in the last second", mood: "" },
    { label: "Waiting", value: short(history.latest("queued")), note: `oldest ${duration(oldestMs)}`, mood: "" },
    { label: "Batch", value: short(mean("batch_rows")), note: "rows on average", mood: "" },
    {
      label: "Slots busy",
      value: slots === 0 ? "–" : percent(Math.min(1, busy / slots)),
      note: `${short(busy)} of ${short(slots)}`,
      mood: slots === 0 ? "bad" : "",
    },
    {
      label: "Workers",
      value: String(now.workers),
      note:
        suspects === 0 ? `${now.gateways} ${now.gateways === 1 ? "gateway" : "gateways"}` : `${suspects} not active`,
      mood: now.workers === 0 ? "bad" : suspects > 0 ? "warn" : "",
    },
  ];
}
