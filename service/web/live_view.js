/** The parts of the live tab outside the overlay: what they show, given what happens. */

import { $, countText } from "./dom.js";
import { duration, speed, whole } from "./format.js";

const PARTS = ["live-invitation", "live-busy", "live-view", "live-message"];
const SAID_EVERY = 4_000;

const MOST_ENLARGED = 2;

/** The focus goes to the button that takes the place of the one that was pressed. */
function reveal(state, part, button) {
  const hadFocus = $("live-stage").contains(document.activeElement);
  for (const id of PARTS) $(id).hidden = id !== part;
  $("live-bar").hidden = part !== "live-view";
  $("live-stage").dataset.state = state;
  $("live-stage").setAttribute("aria-busy", String(state === "busy"));
  if (hadFocus && button) $(button).focus();
}

/** The camera is off. */
export function showStart() {
  reveal("empty", "live-invitation", "live-start");
  showIdle("The camera is off");
}

/** The browser asks the person for leave, or the camera starts. */
export function showAsking() {
  reveal("busy", "live-busy", null);
  $("live-busy").focus();
  showIdle("Starting…");
}

/** @param {{title: string, message: string}} problem why there is no camera */
export function showProblem({ title, message }) {
  $("live-message-title").textContent = title;
  $("live-message-detail").textContent = message;
  reveal("message", "live-message", "live-again");
  showIdle("No camera");
}

/** The camera's picture. */
export function showLive() {
  reveal("live", "live-view", "live-stop");
}

/** The box is as large as fits, and of the picture's shape. */
export function showSize(width, height) {
  const style = $("live-view").style;
  style.setProperty("--ratio", width / height);
  style.setProperty("--most-width", `${MOST_ENLARGED * width}px`);
}

/** @param {boolean} mirror */
export function showMirror(mirror) {
  $("live-mirror").checked = mirror;
  $("live-video").classList.toggle("mirrored", mirror);
}

/** @param {{id: string, label: string}[]} cameras @param {string} chosen id of one; may be of none of them */
export function showCameras(cameras, chosen) {
  const options = cameras.map(({ id, label }) => new Option(label, id, false, id === chosen));
  if (!cameras.some(({ id }) => id === chosen)) options.unshift(new Option("The browser's choice", "", false, true));
  $("live-camera").replaceChildren(...options);
  $("live-camera").disabled = options.length < 2;
}

// What is wrong, over the picture, which goes on

/**
 * @param {{title: string, detail?: string, at?: number | null, action?: string} | null} notice `at` is when the next
 *   try is, in milliseconds of `performance.now()`; `action` what its button says
 */
export function showNotice(notice) {
  $("live-notice").hidden = notice === null;
  if (notice === null) return;
  const hadFocus = document.activeElement === $("live-try");
  setText("live-notice-title", notice.title);
  setText("live-notice-detail", notice.detail ?? "");
  $("live-notice").classList.toggle("calm", !notice.action);
  $("live-try").hidden = !notice.action;
  $("live-try").textContent = notice.action ?? "";
  if (hadFocus && !notice.action) $("live-stop").focus();
  showCountdown(notice.at ?? null);
}

/** @param {number | null} at when the next try is; one that is past goes on */
export function showCountdown(at) {
  const seconds = at === null ? 0 : Math.ceil((at - performance.now()) / 1000);
  setText("live-notice-countdown", at === null ? "" : seconds > 0 ? `Next try in ${seconds} s` : "Trying…");
}

// Figures

let saidAt = -Infinity;

/** How many there are now. It is said now and then, however often it changes. */
export function showCount(count) {
  const text = countText(count);
  setCount(text);
  const now = performance.now();
  if (now - saidAt < SAID_EVERY || $("live-said").textContent === text) return;
  saidAt = now;
  $("live-said").textContent = text;
  $("live-canvas").setAttribute("aria-label", text);
}

/** @param {{fps: number | null, latency: number | null, dropped: number, frames: number}} figures */
export function showFigures({ fps, latency, dropped, frames }) {
  setText("live-fps", fps === null ? "–" : speed(fps));
  setText("live-latency", latency === null ? "–" : whole(latency));
  setText("live-dropped", whole(dropped));
  setText("live-frames", frames > 0 ? `of ${whole(frames)}` : "frames");
}

/** No result for now. */
export function showWaiting(text) {
  setCount(text);
  $("live-said").textContent = "";
  saidAt = -Infinity;
  $("live-canvas").setAttribute("aria-label", "No result");
  for (const id of ["live-fps", "live-latency"]) setText(id, "–");
}

function showIdle(text) {
  showWaiting(text);
  setText("live-dropped", "–");
  setText("live-frames", "frames");
}

function setCount(text) {
  setText("live-count", text);
  $("live-legend").hidden = !/^\d/.test(text);
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// The recording

/** @param {import("./recorder.js").Recorder} recorder @param {number} seconds since it began */
export function showRecording(recorder, seconds) {
  $("live-record").setAttribute("aria-pressed", "true");
  setText("live-record-text", "Save recording");
  const time = duration(Math.floor(seconds)).replace(/^(\d)\.0/, "$1");
  setText("live-recorded", `${whole(recorder.frames)} frames · ${time}`);
}

/** @param {string} text what became of it */
export function showNoRecording(text) {
  $("live-record").setAttribute("aria-pressed", "false");
  setText("live-record-text", "Record");
  setText("live-recorded", text);
}
