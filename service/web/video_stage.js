/** The stage of the video tab: the invitation, how far a video is, its result, or why there is none. */

import { $ } from "./dom.js";
import { bytes, speed, timeLeft, whole } from "./format.js";

const PARTS = ["video-invitation", "job-progress", "job-message", "player"];
const MOST_ENLARGED = 2;

const unplayable = new Set(); // links of results that this browser has given up

function reveal(state, part, isBusy = false) {
  for (const id of PARTS) $(id).hidden = id !== part;
  $("video-stage").dataset.state = state;
  $("video-stage").setAttribute("aria-busy", String(isBusy));
  if (part !== "player") stopPlayer();
}

function stopPlayer() {
  const player = $("player");
  if (!player.hasAttribute("src")) return;
  player.pause();
  player.removeAttribute("src");
  player.load(); // lets go of the file
}

/** The room for something to be chosen. */
export function showInvitation() {
  showBackdrop(null);
  reveal("empty", "video-invitation");
}

/** A job that is not known yet. */
export function showLoading() {
  showBackdrop(null);
  reveal("busy", "job-progress", true);
  progress({ name: "", fraction: null, detail: "Asking the service…", canCancel: false });
}

/** How much of a file has been sent. */
export function showUpload(upload) {
  showBackdrop(upload);
  reveal("busy", "job-progress", true);
  const sent = upload.total > 0 && upload.sent >= upload.total;
  progress({ name: upload.file.name, fraction: sent ? null : upload.sent / upload.total, detail: uploadText(upload) });
}

function uploadText({ sent, total, began }) {
  if (sent >= total) return "Sent. The service checks it…";
  const seconds = (performance.now() - began) / 1000;
  const left = seconds > 1 && sent > 0 ? ` · ${timeLeft(((total - sent) * seconds) / sent)}` : "";
  return `Sending ${bytes(sent)} of ${bytes(total)}${left}`;
}

/** How far a job is. */
export function showWork(job, preview, isCancelling) {
  showBackdrop(preview);
  reveal("busy", "job-progress", true);
  const fraction = job.state === "queued" || job.frames_total === 0 ? null : job.frames_done / job.frames_total;
  progress({ name: job.filename ?? "Video", fraction, detail: workText(job), isCancelling });
  seekPreview(fraction ?? 0);
}

function workText(job) {
  if (job.state === "queued") return "Waiting for its turn…";
  const parts = [`${whole(job.frames_done)} of ${whole(job.frames_total)} frames`];
  if (job.fps) parts.push(`${speed(job.fps)} a second`);
  if (job.eta_seconds !== null && job.eta_seconds !== undefined) parts.push(timeLeft(job.eta_seconds));
  return parts.join(" · ");
}

function progress({ name, fraction, detail, canCancel = true, isCancelling = false }) {
  $("job-name").textContent = name;
  $("job-percent").hidden = fraction === null;
  $("job-percent").textContent = `${Math.floor((fraction ?? 0) * 100)} %`;
  if (fraction === null) $("job-bar").removeAttribute("value");
  else $("job-bar").value = fraction;
  $("job-detail").textContent = detail;
  $("cancel").hidden = !canCancel;
  $("cancel").disabled = isCancelling;
  $("cancel").textContent = isCancelling ? "Cancelling…" : "Cancel";
}

/** That the service does not answer at the moment, or null once it does. */
export function showTrouble(error) {
  $("job-trouble").hidden = error === null;
  if (error !== null) $("job-trouble").textContent = `${error.title ?? "The connection was lost"}. Trying again…`;
}

/** The chosen file, dimmed behind the progress, where the browser can read it. */
function showBackdrop(preview) {
  const video = $("preview");
  $("backdrop").hidden = true;
  const url = preview?.url ?? "";
  video.hidden = !url || preview.isUnreadable === true;
  if (video.dataset.url === url) return;
  video.dataset.url = url;
  if (url) video.src = url;
  else video.removeAttribute("src");
  video.onerror = () => {
    if (!url) return;
    preview.isUnreadable = true;
    video.hidden = true;
  };
}

/** The backdrop shows where in the video the work is. */
function seekPreview(fraction) {
  const video = $("preview");
  if (video.hidden || video.readyState < HTMLMediaElement.HAVE_METADATA || video.seeking) return;
  if (Number.isFinite(video.duration)) video.currentTime = fraction * video.duration;
}

/** The annotated video, ready to be played. */
export function showResult(job) {
  showBackdrop(null);
  const player = $("player");
  if (unplayable.has(job.links.video) || !player.canPlayType(job.output.media_type)) {
    showUnplayable(job);
    return;
  }
  reveal("done", "player");
  const { width, height } = job.output;
  const [across, down] = job.source.sample_aspect;
  player.style.setProperty("--ratio", (width * across) / (height * down));
  player.style.setProperty("--most-width", `${(MOST_ENLARGED * width * across) / down}px`);
  player.setAttribute("aria-label", `${job.filename ?? "Video"}, annotated`);
  if (player.getAttribute("src") === job.links.video) return;
  player.poster = job.links.poster;
  player.onerror = () => player.hasAttribute("src") && showUnplayable(job);
  player.src = job.links.video;
}

function showUnplayable(job) {
  unplayable.add(job.links.video);
  const detail = "It is ready to be downloaded. Videos saved as H.264 or VP9 play here.";
  showMessage("This browser cannot play the result", detail, false);
  $("backdrop").src = job.links.poster;
  $("backdrop").hidden = false;
}

/** Why there is nothing to play. */
export function showMessage(title, detail, canChoose = true) {
  showBackdrop(null);
  reveal("message", "job-message");
  $("job-message-title").textContent = title;
  $("job-message-detail").textContent = detail;
  $("job-message-choose").hidden = !canChoose;
}

/** When the tab is left: nothing plays unseen. */
export function pause() {
  $("player").pause();
}
