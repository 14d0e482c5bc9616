/** A page that the broker refuses (too many are open) asks again after this time, in ms. */
const RETRY_MS = 3_000;

/** Without a frame for this long, in ms, the connection is taken for lost: one comes each second. */
const SILENCE_MS = 5_000;

/**
 * @typedef {object} StreamHandlers
 * @property {(frame: import("../frames.ts").StartFrame) => void} onStart
 * @property {(frame: import("../frames.ts").SecondFrame) => void} onSecond
 * @property {(isLost: boolean) => void} onConnection
 */

/**
 * The broker's feed. The browser reconnects by itself where it can, and this does where the browser gives up; each connection
 * begins with the whole history, so that nothing has to be made up for.
 *
 * @param {string} query what to look at, e.g. "?model=digits"; "" is all
 * @param {StreamHandlers} handlers
 * @returns {() => void} ends it
 */
export function openStream(query, handlers) {
  /** @type {EventSource | undefined} */
  let source;
  let heardMs = performance.now();

  const open = () => {
    source?.close();
    source = new EventSource(`dashboard/events${query}`);
    source.addEventListener("start", (event) => {
      heardMs = performance.now();
      handlers.onConnection(false);
      handlers.onStart(JSON.parse(event.data));
    });
    source.addEventListener("second", (event) => {
      heardMs = performance.now();
      handlers.onSecond(JSON.parse(event.data));
    });
    source.addEventListener("error", () => handlers.onConnection(true));
  };
  open();

  let checkedMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const isClosed = source?.readyState === EventSource.CLOSED;
    const isSilent = nowMs - heardMs > SILENCE_MS;
    if (!isClosed && !isSilent) return;
    handlers.onConnection(true);
    if (nowMs - checkedMs < RETRY_MS) return;
    checkedMs = nowMs;
    heardMs = nowMs;
    open();
  }, 1_000);

  return () => {
    clearInterval(timer);
    source?.close();
  };
}
