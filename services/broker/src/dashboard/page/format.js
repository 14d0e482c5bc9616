const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/**
 * A number in three digits or so: 0, 0.12, 3.4, 56, 789, 1.2k, 3.4M.
 *
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 999_500) return `${trim(value / 1e6, size >= 9.95e6 ? 0 : 1)}M`;
  if (size >= 9_995) return `${trim(value / 1e3, size >= 99_950 ? 0 : 1)}k`;
  if (size >= 99.5) return whole.format(value);
  return trim(value, size >= 9.995 ? 1 : 2);
}

/**
 * A duration given in ms: 0.12 ms, 34 ms, 1.2 s.
 *
 * @param {number | null | undefined} ms
 */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  return Math.abs(ms) >= 9_995 ? `${short(ms / 1000)} s` : `${short(ms)} ms`;
}

/**
 * A share of 1 in percent; what is not quite all is never shown as all.
 *
 * @param {number} share
 */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share > 0.9999 && share < 1) return "> 99.99 %";
  return `${trim(100 * share, share > 0.99 && share < 1 ? 2 : 1)} %`;
}

/**
 * A count in full.
 *
 * @param {number} count
 */
export function count(count) {
  return whole.format(count);
}

/**
 * How long ago, or for how long, in the two largest units.
 *
 * @param {number} seconds
 */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}

/**
 * The time of day on the reader's clock.
 *
 * @param {number} seconds of the wall clock
 * @param {boolean} withSeconds
 */
export function clock(seconds, withSeconds) {
  const date = new Date(seconds * 1000);
  const parts = [date.getHours(), date.getMinutes(), ...(withSeconds ? [date.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/**
 * @param {number} value
 * @param {number} digits after the point, at most
 */
function trim(value, digits) {
  return String(Number(value.toFixed(digits)));
}
