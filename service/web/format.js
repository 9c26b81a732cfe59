/** Numbers as people read them. */

const WHOLE = new Intl.NumberFormat("en");
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** @param {number} value @returns {string} a whole number with its thousands apart */
export function whole(value) {
  return WHOLE.format(Math.round(value));
}

/** @param {number} count @returns {string} `1.4 MB` */
export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** @param {number} seconds @returns {string} `4.2 s`, `35 s`, `2 min 5 s`, `1 h 3 min` */
export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const rounded = Math.round(seconds);
  if (rounded < 60) return `${rounded} s`;
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return withRest(`${minutes} min`, rounded % 60, "s");
  return withRest(`${Math.floor(minutes / 60)} h`, minutes % 60, "min");
}

function withRest(text, rest, unit) {
  return rest ? `${text} ${rest} ${unit}` : text;
}

/** @param {number} seconds @returns {string} coarse, because it is a guess */
export function timeLeft(seconds) {
  if (seconds < 1.5) return "a moment left";
  if (seconds >= 90 && seconds < 5400) return `${Math.round(seconds / 60)} min left`;
  return `${duration(Math.round(seconds)).replace(/^(\d)\.0 s/, "$1 s")} left`;
}

/** @param {string} when ISO 8601 @returns {string} `just now`, `5 min ago`, a date after a week */
export function ago(when, now = Date.now()) {
  const minutes = Math.floor((now - Date.parse(when)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 60 * 24) return `${Math.floor(minutes / 60)} h ago`;
  const days = Math.floor(minutes / 60 / 24);
  if (days < 7) return days === 1 ? "yesterday" : `${days} days ago`;
  return new Date(when).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

/** @param {number} value @returns {string} frames per second of a video: `30`, `29.97` */
export function rate(value) {
  return String(Number(value.toFixed(2)));
}

/** @param {number} value @returns {string} frames per second of work: `41`, `2.5` */
export function speed(value) {
  return value < 9.95 ? value.toFixed(1) : whole(value);
}
