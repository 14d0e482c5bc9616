import { byId, make } from "./dom.js";
import { count, percent, span } from "./format.js";

/**
 * Who this is, since when, and how it is.
 *
 * @param {string} broker
 * @param {import("../frames.ts").Now} now
 */
export function showIdentity(broker, now) {
  byId("broker").textContent = broker;
  document.title = `${broker} · Millrace`;
  const all = now.totals.reduce((sum, ended) => sum + ended, 0);
  const share = all === 0 ? "" : `, ${percent((now.totals[0] ?? 0) / all)} ok`;
  const busy = `event loop ${percent(now.loopBusy)} busy`;
  const facts = [`up ${span(now.uptimeS)}`, `${count(all)} requests${share}`, busy];
  // Lines break between facts, not within them.
  byId("facts").replaceChildren(...facts.flatMap((fact, i) => [i === 0 ? "" : " · ", make("span", {}, fact)]));
}

/**
 * @param {string} text
 * @param {"good" | "warn" | "bad" | "waiting"} mood
 */
export function showState(text, mood) {
  const badge = byId("state");
  if (badge.textContent !== text) badge.textContent = text;
  badge.className = `badge ${mood}`;
}

/**
 * What needs somebody's attention.
 *
 * @param {import("../frames.ts").Now} now
 * @param {boolean} isLost
 */
export function showNotices(now, isLost) {
  const notices = noticesOf(now, isLost);
  const place = byId("notices");
  const text = JSON.stringify(notices);
  if (place.dataset["shown"] === text) return;
  place.dataset["shown"] = text;
  place.replaceChildren(
    ...notices.map(({ mood, what, means }) =>
      make("p", { class: `notice ${mood}`, role: "alert" }, make("b", {}, what), " ", make("span", {}, means)),
    ),
  );
}

/** Names that are listed; the rest is counted. */
const NAMES_MAX = 4;

/**
 * @param {import("../frames.ts").Now} now
 * @param {boolean} isLost
 */
function noticesOf(now, isLost) {
  const notices = [];
  if (isLost) {
    const means = "What is shown is what was known last. The page goes on by itself when the broker answers.";
    return [{ mood: "bad", what: "Connection lost, reconnecting.", means }];
  }
  if (now.state !== "serving") {
    const means = "It takes no new requests and finishes those that it has.";
    notices.push({ mood: "warn", what: "The broker drains.", means });
  }
  const idle = now.models.filter(({ workers }) => workers === 0).map(({ name }) => name);
  if (now.workers === 0) {
    const means = "Requests are refused with 503 until one connects.";
    notices.push({ mood: "bad", what: "No worker is connected.", means });
  } else if (now.models.length === 0) {
    notices.push({ mood: "warn", what: "No worker serves a model yet.", means: "They may be loading still." });
  }
  if (idle.length > 0) {
    const more = idle.length > NAMES_MAX ? ` and ${idle.length - NAMES_MAX} more` : "";
    const what = `No worker serves ${idle.slice(0, NAMES_MAX).join(", ")}${more}.`;
    notices.push({ mood: "bad", what, means: "Requests for it are refused with 503." });
  }
  if (now.gateways === 0) {
    const means = "Nobody can send requests.";
    notices.push({ mood: "warn", what: "No gateway is connected.", means });
  }
  return notices;
}
