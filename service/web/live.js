/** The live tab: a camera's pictures go to the service, and people come back while they still stand there. */

import { listModels } from "./api.js";
import { Camera, CameraError, listCameras, onCamerasChange, whyNone } from "./camera.js";
import { $, save, showProblem } from "./dom.js";
import * as options from "./live_options.js";
import * as view from "./live_view.js";
import { Meter } from "./meter.js";
import { Overlay } from "./overlay.js";
import { Recorder } from "./recorder.js";
import { toSource } from "./scaling.js";
import { Sender } from "./sender.js";
import { PoseStream } from "./stream.js";

const KEPT_CAMERA = "yaop.live.camera";
const REFRESH = 250;
const CALM = 150; // between messages about options: a slider moves more often
const PATIENCE = 3_000; // for the list of models: a stream works without
const REST = 20_000; // how long the camera stays on while nobody looks

const MUTED = { title: "The camera gives no pictures", detail: "Is it covered, or used by another program?" };
const LOST = new CameraError(
  "The camera is gone",
  "It was taken away or turned off. Connect it again, or choose another one.",
);

const state = {
  isOpen: false, // the tab
  isRunning: false,
  isResting: false, // the camera is off until somebody looks again
  isMuted: false,
  attempt: 0, // number of the last one to connect
  cameraId: "", // of the camera that the person chose; empty: the browser chooses
  topology: null,
  trouble: null, // of the stream
  mirrors: new Map(), // what the person chose, by camera
  recorder: null,
  recordingSince: 0,
  restTimer: null,
  refreshTimer: null,
  changeTimer: null,
};

let camera, stream, sender, overlay;
const meter = new Meter();

const isWatched = () => state.isOpen && !document.hidden;

// Start and stop

async function run() {
  fail(null);
  sender.restart();
  await goOn();
}

/** With counts and times as they are: a recording may be under way. */
async function goOn() {
  state.isRunning = true;
  state.isResting = false;
  view.showAsking();
  if (!(await openCamera())) return;
  connect();
  view.showLive();
  clearTimeout(state.refreshTimer);
  refreshNowAndThen();
  attend();
}

/** @returns {Promise<boolean>} whether it is on */
async function openCamera() {
  onCameraMute(false); // what the last one did
  try {
    if (!(await camera.open(state.cameraId))) return false;
  } catch (error) {
    lose(error);
    return false;
  }
  onCameraMute(camera.isMuted);
  view.showMirror(state.mirrors.get(camera.id) ?? !camera.looksAway);
  await showCameras();
  return camera.isOpen;
}

/** There is no camera, or not any more. */
function lose(error) {
  halt();
  view.showProblem(error);
}

function halt() {
  state.isRunning = state.isResting = false;
  for (const timer of [state.restTimer, state.refreshTimer, state.changeTimer]) clearTimeout(timer);
  sender.pause();
  disconnect();
  camera.close();
  overlay.clear();
  state.trouble = null;
  view.showNotice(null);
  finishRecording();
}

function stop() {
  halt();
  view.showStart();
}

// While nobody looks, nothing is sent, and after a while the camera goes off

function attend() {
  if (!state.isRunning) return;
  clearTimeout(state.restTimer);
  if (!isWatched()) {
    sender.pause();
    overlay.clear();
    state.restTimer = setTimeout(rest, REST);
  } else if (state.isResting) {
    goOn();
  } else if (camera.isOpen) {
    meter.restart();
    sender.resume();
    stream.tryNow();
  }
}

function rest() {
  state.isResting = true;
  disconnect();
  camera.close();
}

// The camera

async function showCameras() {
  view.showCameras(await listCameras(), camera.id || state.cameraId);
}

function startCameras() {
  try {
    state.cameraId = localStorage.getItem(KEPT_CAMERA) ?? "";
  } catch {
    // A browser that keeps nothing: its choice.
  }
  onCamerasChange(showCameras);
  return showCameras();
}

async function chooseCamera() {
  state.cameraId = $("live-camera").value;
  try {
    localStorage.setItem(KEPT_CAMERA, state.cameraId);
  } catch {
    // It is kept until the page is closed.
  }
  if (!state.isRunning || !camera.isOpen) return;
  sender.pause();
  overlay.clear();
  if (await openCamera()) attend();
}

function onCameraMute(isMuted) {
  state.isMuted = isMuted;
  showNotice();
}

function showNotice() {
  view.showNotice(state.trouble ?? (state.isMuted ? MUTED : null));
}

function chooseMirror() {
  if (camera.isOpen) state.mirrors.set(camera.id, $("live-mirror").checked);
  view.showMirror($("live-mirror").checked);
  overlay.mirror = $("live-mirror").checked;
}

// The stream

/** With the models that there are now: since the last time the service may have been started with others. */
async function connect() {
  disconnect();
  const { attempt } = state;
  onTrouble({ title: "Connecting to the service…" });
  await listModels(AbortSignal.timeout(PATIENCE)).then(options.offerModels, () => {});
  if (attempt === state.attempt) stream.open(options.hello());
}

function disconnect() {
  state.attempt += 1;
  stream.close();
}

function onTrouble(trouble) {
  const action = trouble.at === undefined ? undefined : trouble.at === null ? "Start again" : "Try now";
  state.trouble = { ...trouble, action };
  overlay.clear();
  view.showWaiting("Waiting…");
  showNotice();
  if (trouble.title === "The service does not answer") lookWhy(state.trouble);
}

/** Browsers do not say why a WebSocket is refused. */
async function lookWhy(trouble) {
  const answers = await fetch("/health/live", { cache: "no-store" }).then(({ ok }) => ok, () => false);
  if (!answers || state.trouble !== trouble) return;
  trouble.title = "The service refuses the stream";
  trouble.detail = "It does answer other requests. A proxy in between has to pass on WebSockets, and the host's name.";
  showNotice();
}

function onWelcome({ topology }) {
  state.topology = topology;
  state.trouble = null;
  meter.restart();
  showNotice();
}

function onResult(result, source) {
  sender.offer();
  if (!isWatched()) return;
  if (state.trouble) {
    state.trouble = null;
    showNotice();
  }
  meter.add(sender.timeOf(result.timestamp));
  overlay.show(result, state.topology, { mirror: $("live-mirror").checked, patience: 3 * (meter.read().latency ?? 0) });
  view.showCount(result.people.length);
  if (state.recorder && !state.recorder.add(toSource(result, source))) finishRecording("It was full. ");
}

/** One that is over by itself, with the next result. */
function onProblem(error, index) {
  if (index === null) fail(error);
  else onTrouble({ title: error.title, detail: error.message });
}

function fail(error) {
  showProblem($("live-error"), error);
}

/** A slider sends what it comes to, not every step. */
function changeOptions() {
  clearTimeout(state.changeTimer);
  state.changeTimer = setTimeout(() => {
    fail(null);
    stream.change(options.streamOptions());
  }, CALM);
}

function tryAgain() {
  if (!state.trouble?.at) {
    connect();
    return;
  }
  state.trouble.at = performance.now();
  view.showCountdown(state.trouble.at);
  stream.tryNow();
}

// Figures and recording

function refreshNowAndThen() {
  if (stream.isOpen && isWatched()) {
    view.showFigures({ ...meter.read(), dropped: sender.dropped, frames: sender.frames });
  }
  if (state.trouble?.at) view.showCountdown(state.trouble.at);
  if (state.recorder) view.showRecording(state.recorder, (performance.now() - state.recordingSince) / 1000);
  state.refreshTimer = setTimeout(refreshNowAndThen, REFRESH);
}

function toggleRecording() {
  if (state.recorder) {
    finishRecording();
    return;
  }
  state.recorder = new Recorder();
  state.recordingSince = performance.now();
  view.showRecording(state.recorder, 0);
}

function finishRecording(why = "") {
  const { recorder } = state;
  if (!recorder) return;
  state.recorder = null;
  if (recorder.frames === 0) {
    view.showNoRecording("Nothing was recorded.");
    return;
  }
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  save(recorder.blob(), `live-${time}.jsonl`);
  view.showNoRecording(`${why}Saved ${recorder.frames} frames.`);
}

// The page

async function start() {
  camera = new Camera($("live-video"), {
    onLost: () => lose(LOST),
    onMute: onCameraMute,
  });
  stream = new PoseStream({
    onWelcome,
    onResult,
    onTrouble,
    onProblem,
    onOptions: ({ resolution }) => {
      sender.resolution = resolution;
    },
  });
  sender = new Sender($("live-video"), stream);
  overlay = new Overlay($("live-canvas"));
  options.startOptions(changeOptions);
  listen();
  const problem = whyNone();
  if (problem) view.showProblem(problem);
  await startCameras();
  try {
    options.offerModels(await listModels());
  } catch (error) {
    fail(error);
  }
}

function listen() {
  for (const id of ["live-start", "live-again"]) $(id).addEventListener("click", run);
  $("live-stop").addEventListener("click", stop);
  $("live-record").addEventListener("click", toggleRecording);
  $("live-try").addEventListener("click", tryAgain);
  $("live-mirror").addEventListener("change", chooseMirror);
  $("live-camera").addEventListener("change", chooseCamera);
  $("live-model").addEventListener("change", () => state.isRunning && connect()); // a stream keeps its model
  $("live-video").addEventListener("resize", ({ target }) => view.showSize(target.videoWidth, target.videoHeight));
  document.addEventListener("visibilitychange", attend);
  window.addEventListener("beforeunload", (event) => {
    if (state.recorder?.frames) event.preventDefault(); // it is only in this page
  });
}

/** @type {import("./tabs.js").Tab} */
export const live = {
  name: "live",
  title: "YAOP: live poses",
  accepts: () => false,
  start,
  show() {
    state.isOpen = true;
    attend();
  },
  hide() {
    state.isOpen = false;
    attend();
  },
  take() {
    const message = "Those may be dropped here, and are shown in their tabs.";
    fail({ title: "This is no picture and no video", message });
  },
};
