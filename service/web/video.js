/** The video tab: clips go to the service one after the other, and come back annotated when their jobs are done. */

import { deleteVideo, listModels, listVideos, videosUrl, videoUrl } from "./api.js";
import { $, fillModels, showProblem } from "./dom.js";
import { follow } from "./events.js";
import { listenForChoice } from "./files.js";
import { Uploads } from "./uploads.js";
import * as list from "./video_list.js";
import { chosenOptions, showOptions, startOptions } from "./video_options.js";
import * as result from "./video_result.js";
import * as stage from "./video_stage.js";

const TITLE = "YAOP: poses in videos";
const PAGE = 10;
const REFRESH = 5_000;
const SURE_SECONDS = 5;

const state = {
  isOpen: false,
  shown: "", // the id of the job on the stage; empty for an upload, or the invitation
  jobs: new Map(),
  order: [], // ids, newest first
  next: null, // the id after which older jobs are listed
  previews: new Map(), // of files that were sent from this page, by job
  cancelling: new Set(),
  following: null,
  lost: null, // why the job on the stage cannot be shown
  isAccepting: false, // a job is opened by its upload's end, so what was said of an earlier upload stays
};

const uploads = new Uploads({ onChange: render, onAccepted: accept, onRefused: refuse });

const isFinished = (job) => ["succeeded", "failed", "cancelled"].includes(job.state);

/** Everything that is shown, from the state. */
function render() {
  const job = state.jobs.get(state.shown);
  const jobs = state.order.map((id) => state.jobs.get(id));
  list.showList(uploads.all, jobs, state.shown, state.next !== null);
  if (job) renderJob(job);
  else if (state.lost) renderLost(state.lost);
  else if (state.shown) renderLoading();
  else renderUpload(uploads.all[0]);
  if (state.isOpen) document.title = titleFor(job);
}

function renderUpload(upload) {
  if (upload) stage.showUpload(upload);
  else stage.showInvitation();
  result.showNoJob(upload ? "Sending it…" : "No video yet");
}

function renderLoading() {
  stage.showLoading();
  result.showNoJob("Looking it up…");
}

function renderLost(error) {
  stage.showMessage(error.title ?? "Something went wrong", error.message);
  result.showNoJob("Not here");
}

function renderJob(job) {
  result.showJob(job);
  if (job.state === "succeeded") stage.showResult(job);
  else if (job.state === "failed") stage.showMessage(job.error?.title ?? "It failed", job.error?.detail ?? "");
  else if (job.state === "cancelled") stage.showMessage("Cancelled", "Nothing of it was kept.");
  else stage.showWork(job, state.previews.get(job.id), state.cancelling.has(job.id));
}

/** For those who look at another page meanwhile. */
function titleFor(job) {
  if (job?.state === "running" && job.frames_total > 0) {
    return `${Math.floor((100 * job.frames_done) / job.frames_total)} % · ${TITLE}`;
  }
  return job?.state === "succeeded" ? `Done · ${TITLE}` : TITLE;
}

function remember(job) {
  state.jobs.set(job.id, { ...state.jobs.get(job.id), ...job });
  if (isFinished(job)) forgetPreview(job.id);
}

function forgetPreview(id) {
  const preview = state.previews.get(id);
  if (preview) URL.revokeObjectURL(preview.url);
  state.previews.delete(id);
}

function fail(error, again = null) {
  showProblem($("video-error"), error);
  $("try-again").hidden = again === null;
  $("try-again").onclick = again;
  if (error) $("video-error").scrollIntoView({ block: "nearest" }); // on a phone it is below the stage
}

// Sending

function take(files) {
  fail(null);
  location.hash = "video";
  uploads.add(files, chosenOptions());
}

function accept(job, upload) {
  state.previews.set(job.id, upload);
  remember(job);
  if (!state.order.includes(job.id)) state.order.unshift(job.id);
  if (!state.isOpen || state.shown !== "") return;
  state.isAccepting = true;
  location.hash = `video/${job.id}`;
}

function refuse(error, upload) {
  const again = () => {
    fail(null);
    location.hash = "video";
    uploads.again(upload);
  };
  fail(error, mayWorkLater(error) ? again : null);
}

/** Not where the video itself is refused. */
function mayWorkLater({ status }) {
  return status === null || status === 429 || status >= 500;
}

// Following a job

async function open(id) {
  state.following?.abort();
  state.following = null;
  state.shown = id;
  state.lost = null;
  if (state.isAccepting) state.isAccepting = false;
  else fail(null);
  stage.showTrouble(null);
  render();
  if (!id || (state.jobs.has(id) && isFinished(state.jobs.get(id)))) return;
  const following = new AbortController();
  state.following = following;
  try {
    await watch(id, following.signal);
  } catch (error) {
    if (!following.signal.aborted) lose(id, error);
  }
}

/** The first event comes at once: it tells how the job is now. */
async function watch(id, signal) {
  for await (const event of follow(`${videoUrl(id)}/events`, { signal, onTrouble: stage.showTrouble })) {
    remember(JSON.parse(event.data));
    render();
    if (isFinished(state.jobs.get(id))) return;
  }
}

/** The job cannot be followed: there is none of this name, or not any more. */
function lose(id, error) {
  forget(id);
  state.lost = error;
  render();
}

function forget(id) {
  state.jobs.delete(id);
  state.order = state.order.filter((each) => each !== id);
  forgetPreview(id);
}

async function cancel() {
  const id = state.shown;
  if (!id) {
    uploads.cancel();
    return;
  }
  state.cancelling.add(id);
  render();
  try {
    await deleteVideo(id);
  } catch (error) {
    state.cancelling.delete(id);
    fail(error);
  }
  render();
}

/** The first click asks, the second one does it. */
async function remove() {
  const button = $("delete");
  if (!button.classList.contains("sure")) {
    askIfSure(button, true);
    setTimeout(() => askIfSure(button, false), SURE_SECONDS * 1000);
    return;
  }
  askIfSure(button, false);
  const id = state.shown;
  try {
    await deleteVideo(id);
    forget(id);
    location.hash = "video";
  } catch (error) {
    fail(error);
  }
}

function askIfSure(button, isAsking) {
  button.classList.toggle("sure", isAsking);
  button.textContent = isAsking ? "Really delete?" : "Delete";
}

// The list

/** The newest page; older ones that were asked for stay below it. */
async function refresh() {
  const page = await listVideos({ limit: PAGE });
  const newest = page.videos.map(({ id }) => id);
  const oldest = newest.at(-1);
  const known = state.order.indexOf(oldest);
  const older = page.next && known >= 0 ? state.order.slice(known + 1) : [];
  if (older.length === 0) state.next = page.next;
  state.order = [...newest, ...older.filter((id) => !newest.includes(id))];
  page.videos.forEach(remember);
  render();
}

async function showOlder() {
  try {
    const page = await listVideos({ limit: PAGE, before: state.next });
    page.videos.forEach(remember);
    state.order.push(...page.videos.map(({ id }) => id).filter((id) => !state.order.includes(id)));
    state.next = page.next;
    render();
  } catch (error) {
    fail(error);
  }
}

/** The job on the stage tells of itself; the others are asked about while somebody looks. */
async function refreshNowAndThen() {
  const waits = state.order.some((id) => id !== state.shown && !isFinished(state.jobs.get(id)));
  if (waits && state.isOpen && !document.hidden) await refresh().catch(() => {}); // the next time may do
  setTimeout(refreshNowAndThen, REFRESH);
}

async function start() {
  startOptions();
  listenForChoice($("video-file"), take);
  $("cancel").addEventListener("click", cancel);
  $("delete").addEventListener("click", remove);
  $("older").addEventListener("click", showOlder);
  window.addEventListener("beforeunload", (event) => {
    if (uploads.all.length > 0) event.preventDefault(); // only sending needs this page; jobs go on without it
  });
  setTimeout(refreshNowAndThen, REFRESH);
  try {
    const [models] = await Promise.all([listModels(), refresh()]);
    fillModels($("video-model"), $("video-model-field"), models);
    showOptions();
  } catch (error) {
    fail(error);
  }
}

/** @type {import("./tabs.js").Tab} */
export const video = {
  name: "video",
  title: TITLE,
  accepts: (file) => file.type.startsWith("video/") || /\.(mp4|m4v|mov|avi|mkv|webm)$/i.test(file.name),
  start,
  show(place) {
    state.isOpen = true;
    open(place);
    $("video-stage").scrollIntoView({ block: "nearest" }); // on a phone the list is far below it
  },
  hide() {
    state.isOpen = false;
    stage.pause();
  },
  take,
};
