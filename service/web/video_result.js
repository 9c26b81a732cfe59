/** The card of the video that is shown: its state, what it was made from and into, and the downloads. */

import { $, countText, element } from "./dom.js";
import { bytes, duration, rate, speed, whole } from "./format.js";

const POSES = [
  ["JSON Lines", ""],
  ["CSV", "csv"],
  ["OpenPose", "openpose"],
  ["COCO", "coco"],
];

const STATES = {
  queued: "Waiting for its turn",
  running: "Looking for people…",
  failed: "It failed",
  cancelled: "Cancelled",
};

/** @param {object} job @returns {string} its state in a few words */
export function stateText(job) {
  if (job.state !== "succeeded") return STATES[job.state];
  if (!job.options.track) return "Done";
  return job.output.people_seen === 0 ? "Nobody found" : `${countText(job.output.people_seen)} seen`;
}

/** Words instead of a job: there is none yet, or not here. */
export function showNoJob(text) {
  setCount(text);
  for (const id of ["warnings", "facts", "downloads", "job-actions"]) $(id).hidden = true;
}

/** Only when it changes, so that a screen reader says it once. */
function setCount(text) {
  if ($("video-count").textContent !== text) $("video-count").textContent = text;
}

/** @param {object} job */
export function showJob(job) {
  setCount(stateText(job));
  showWarnings([...new Set([...job.source.warnings, ...job.warnings])]);
  $("facts").hidden = false;
  $("facts").replaceChildren(...facts(job).flatMap(([term, value]) => factRow(term, value)));
  showDownloads(job);
  $("job-actions").hidden = job.state === "queued" || job.state === "running";
}

function showWarnings(warnings) {
  $("warnings").hidden = warnings.length === 0;
  $("warnings").replaceChildren(...warnings.map((text) => element("li", { textContent: text })));
}

function factRow(term, value) {
  return [element("dt", { textContent: term }), element("dd", { textContent: value })];
}

function facts(job) {
  const { source, output } = job;
  const rows = [
    ["File", job.filename ?? "no name"],
    ["Video", `${source.width} × ${source.height}, ${duration(source.seconds)}, ${rate(source.fps)} fps`],
    ["Asked for", optionsText(job.options)],
  ];
  if (output) rows.push(["Result", `${whole(output.frames)} frames, ${bytes(output.bytes)}`]);
  const took = seconds(job.started_at, job.finished_at);
  if (output && took > 0) rows.push(["Took", `${duration(took)}, ${speed(output.frames / took)} frames a second`]);
  if (output) rows.push(["Model", `${output.model.name} ${output.model.version}`]);
  return rows;
}

function seconds(start, end) {
  return start && end ? (Date.parse(end) - Date.parse(start)) / 1000 : 0;
}

/** What differs between jobs most: the rest is in the API. */
function optionsText(options) {
  const parts = [`resolution ${options.resolution}`];
  if (options.every > 1) parts.push(`1 of ${options.every} frames`);
  if (options.fps) parts.push(`${rate(options.fps)} fps`);
  if (options.track) parts.push("people followed");
  if (options.smooth) parts.push("smoothed");
  return parts.join(", ");
}

function showDownloads(job) {
  $("downloads").hidden = !job.links.video;
  if (!job.links.video) return;
  const links = [
    download(`Video (${job.output.suffix})`, job.links.video, "button primary wide"),
    ...POSES.map(([name, format]) => download(name, job.links.poses + (format && `?format=${format}`), "button")),
  ];
  const shown = [...$("downloads").children].map((link) => link.getAttribute("href"));
  if (links.some((link, index) => link.getAttribute("href") !== shown[index])) $("downloads").replaceChildren(...links);
}

/** The service names the file. */
function download(name, href, className) {
  const arrow = element("span", { "aria-hidden": "true", textContent: "↓" });
  return element("a", { className, href, download: "", "aria-label": `Download ${name}` }, arrow, ` ${name}`);
}
