import { Chart } from "./chart.js";
import { DecisionList } from "./decisions.js";
import { byId, make } from "./dom.js";
import { EventList } from "./events.js";
import { showIdentity, showNotices, showState } from "./header.js";
import { History } from "./history.js";
import { PANELS } from "./panels.js";
import { queryOf, Selector } from "./selector.js";
import { openStream } from "./stream.js";
import { setUpTheme } from "./theme.js";
import { showTiles } from "./tiles.js";
import { showWorkers } from "./workers.js";

/** What the charts can show, in seconds. */
const WINDOWS = /** @type {const} */ ([
  ["1 min", 60],
  ["5 min", 300],
  ["15 min", 900],
]);

const samples = new History();
const charts = PANELS.map((panel) => new Chart(panel));
const events = new EventList(byId("events"));
const decisions = new DecisionList(byId("decisions"));
byId("charts").append(...charts.map(({ element }) => element));

let windowS = 900;
let broker = "";
let isLost = false;
/** @type {import("../frames.ts").Now | undefined} */
let now;

function showCharts() {
  for (const chart of charts) chart.show(samples, windowS);
}

function showNow() {
  if (now === undefined) return;
  showIdentity(broker, now);
  showTiles(byId("tiles"), samples, now);
  showWorkers(byId("workers"), now, samples.nowS);
  selector.show(now);
  // Where there is but one model, there is nothing to choose; one that the broker does not know is not asked for.
  const known = now.models.map(({ name }) => name);
  const chosen = selector.selection ?? (known.length === 1 ? known[0] : undefined);
  void decisions.refresh(chosen !== undefined && known.includes(chosen) ? chosen : undefined);
  showConnection();
}

function showConnection() {
  document.body.classList.toggle("stale", isLost);
  if (isLost) showState("connection lost, reconnecting", "bad");
  else if (now !== undefined) {
    if (now.state !== "serving") showState(now.state, "warn");
    else if (now.workers === 0 || now.models.length === 0) showState("no worker", "bad");
    else showState("serving", "good");
  }
  if (now !== undefined) showNotices(now, isLost);
}

/** @type {import("./stream.js").StreamHandlers} */
const handlers = {
  onStart: (frame) => {
    broker = frame.broker;
    now = frame.now;
    samples.reset(frame);
    events.reset(frame.log);
    showNow();
    showCharts();
  },
  onSecond: (frame) => {
    now = frame.now;
    samples.push(frame.sample);
    events.add(frame.log);
    // Nobody looks at a hidden tab; it is drawn when it is looked at again.
    if (document.hidden) return;
    showNow();
    showCharts();
  },
  onConnection: (lost) => {
    isLost = lost;
    showConnection();
  },
};

const selector = new Selector(/** @type {HTMLSelectElement} */ (byId("model")), (selection) => {
  close();
  close = openStream(queryOf(selection), handlers);
});

byId("window").append(
  ...WINDOWS.map(([label, seconds]) => {
    const button = make("button", { type: "button", "aria-pressed": String(seconds === windowS) }, label);
    button.addEventListener("click", () => {
      windowS = seconds;
      for (const other of byId("window").children) other.setAttribute("aria-pressed", String(other === button));
      showCharts();
    });
    return button;
  }),
);

setUpTheme(byId("theme"), () => {
  for (const chart of charts) chart.restyle();
});
document.addEventListener("visibilitychange", () => {
  showNow();
  showCharts();
});

let close = openStream(queryOf(selector.selection), handlers);
