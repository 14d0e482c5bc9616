import { make } from "./dom.js";
import { clock, percent, short, span } from "./format.js";

const HEADINGS = /** @type {const} */ ([
  ["Worker", "The name that it gave itself; its slots are lanes that run one batch at a time"],
  ["State", "active; suspect: silent for 1.5 s; draining: takes nothing new; stopped or lost: gone"],
  ["For", "How long it has been in this state"],
  ["Busy", "Share of its slots' time in which a model ran, over 5 s"],
  ["Credits", "Batches that it would take now, and those that it has"],
  ["Batches/s", "Batches answered per second, over 5 s, of all models"],
  ["Rows/s", "Rows answered per second, over 5 s, of all models"],
  ["Batch time in ms, by rows", "Compute time of a batch of up to so many rows: a moving average"],
]);

/** A cell that has nothing to tell. */
const NOTHING = "–";

/** What a state means at a glance. */
const MOODS = /** @type {Readonly<Record<string, string>>} */ ({
  active: "good",
  suspect: "warn",
  draining: "warn",
  stopped: "off",
  lost: "bad",
});

/**
 * The table of workers. Rebuilt each second: it is short.
 *
 * @param {HTMLElement} place
 * @param {import("../frames.ts").Now} now
 * @param {number} nowS the broker's wall clock
 */
export function showWorkers(place, now, nowS) {
  if (now.table.length === 0) {
    place.replaceChildren(make("p", { class: "empty-table" }, "No worker has connected yet."));
    return;
  }
  const head = make("tr", {}, ...HEADINGS.map(([text, title]) => make("th", { scope: "col", title }, text)));
  const rows = now.table.map((row) => rowOf(row, nowS));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  const more = now.moreWorkers > 0 ? [make("p", { class: "muted" }, `and ${now.moreWorkers} more`)] : [];
  place.replaceChildren(table, ...more);
}

/**
 * @param {import("../worker-table.ts").WorkerRow} row
 * @param {number} nowS
 */
function rowOf(row, nowS) {
  const isGone = row.state === "lost" || row.state === "stopped";
  const slots = `${row.slots} ${row.slots === 1 ? "slot" : "slots"}, ${row.models} ${row.models === 1 ? "model" : "models"}`;
  const cells = [
    make("span", {}, make("b", { class: "name" }, row.name), make("small", { class: "muted" }, isGone ? "" : slots)),
    make("span", { class: `pill ${MOODS[row.state] ?? "off"}` }, row.state),
    make("span", { title: `since ${clock(row.since, true)}` }, span(nowS - row.since)),
    isGone ? NOTHING : meterOf(row.busy),
    isGone ? NOTHING : `${row.credits} free, ${row.out} out`,
    isGone ? NOTHING : short(row.batchesPerS),
    isGone ? NOTHING : short(row.rowsPerS),
    timesOf(row.batchMs),
  ];
  const element = make("tr", { class: isGone ? "gone" : "", "data-worker": row.name, "data-state": row.state });
  for (const [i, cell] of cells.entries()) {
    const given = { "data-label": HEADINGS[i]?.[0] ?? "", ...(cell === NOTHING ? { class: "nothing" } : {}) };
    element.append(make("td", given, cell));
  }
  return element;
}

/** @param {number} share */
function meterOf(share) {
  const fill = make("i", {});
  fill.style.setProperty("width", `${Math.min(100, Math.max(0, 100 * share))}%`);
  return make("span", { class: "meter" }, make("span", { class: "bar" }, fill), percent(Math.min(1, share)));
}

/** @param {readonly (readonly [number, number])[]} times */
function timesOf(times) {
  if (times.length === 0) return NOTHING;
  const parts = times.map(([rows, ms]) =>
    make(
      "span",
      { class: "time" },
      make("small", { class: "muted" }, rows <= 2 ? String(rows) : `≤ ${rows}`),
      short(ms),
    ),
  );
  return make("span", { class: "times" }, ...parts);
}
