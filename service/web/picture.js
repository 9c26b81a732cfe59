/** The picture tab: one picture at a time goes to the service, its people come back and are drawn. */

import { estimate, listModels, overlay, showModel } from "./api.js";
import { $, countText, fillModels, save } from "./dom.js";
import { paint } from "./draw.js";
import { listenForChoice } from "./files.js";
import * as view from "./picture_view.js";

const MOST_PEOPLE = 100;
const DEFAULT_SCORE = 0.05;

const state = {
  file: null,
  bitmap: null,
  frame: null,
  chosen: null,
  topology: null,
  pending: null,
};

/** What both the service and the shell command are asked for. */
function baseQuery() {
  const query = new URLSearchParams();
  const resolution = $("picture-panel").querySelector("input[name=resolution]:checked").value;
  if (resolution !== "balanced") query.set("resolution", resolution);
  if ($("flip").checked) query.set("flip", "true");
  if ($("model").selectedIndex > 0) query.set("model", $("model").value);
  return query;
}

function minScore() {
  return Number($("min-score").value);
}

/** With the score that is chosen; the page itself asks for everybody, so that moving the slider asks nothing. */
function scoredQuery() {
  const query = baseQuery();
  if (minScore() !== DEFAULT_SCORE) query.set("min_score", minScore().toFixed(2));
  return query;
}

function shownPeople() {
  return (state.frame?.people ?? []).filter((person) => person.score >= minScore());
}

function render() {
  $("min-score-value").textContent = minScore().toFixed(2);
  view.showCommand(scoredQuery());
  if (!state.frame || !state.topology) return;
  const people = shownPeople();
  if (!people.includes(state.chosen)) state.chosen = null;
  view.showPeople(people, state.frame.people.length, state.chosen, choose);
  $("canvas").setAttribute("aria-label", `${state.file.name || "Picture"}: ${countText(people.length)}`);
  repaint(people);
}

function repaint(people) {
  const size = state.frame ?? state.bitmap;
  if (!size) return;
  const room = { width: $("stage").clientWidth, height: Math.max(window.innerHeight * 0.85, 320) };
  paint($("canvas"), state.bitmap, size, people, state.topology, { room, chosen: state.chosen });
}

function choose(person) {
  state.chosen = person;
  const index = shownPeople().indexOf(person);
  render();
  if (index >= 0) $("people").children[index].firstElementChild.focus();
}

/** Browsers turn the picture upright themselves; one that cannot read it leaves the skeletons on a blank. */
function toBitmap(file) {
  return createImageBitmap(file).catch(() => null);
}

async function look(file) {
  state.pending?.abort();
  const pending = new AbortController();
  Object.assign(state, { file, bitmap: null, frame: null, chosen: null, pending });
  view.showError(null);
  view.showNothing("Looking for people…");
  view.showState("busy", false);
  const bitmap = await toBitmap(file);
  if (pending.signal.aborted) return;
  state.bitmap = bitmap;
  view.showState("busy", bitmap !== null);
  repaint([]);
  await ask(pending);
}

async function ask(pending) {
  const query = baseQuery();
  query.set("min_score", "0");
  query.set("max_people", String(MOST_PEOPLE));
  try {
    const frame = await estimate(state.file, query, pending.signal);
    if (pending.signal.aborted) return;
    state.frame = frame;
    view.showState("done", true);
    view.showTiming(frame.timing_ms);
    view.enableDownloads(true);
    render();
  } catch (error) {
    if (pending.signal.aborted) return;
    view.showNothing("No result");
    view.showState(state.bitmap ? "done" : "empty", state.bitmap !== null);
    view.showError(error);
  }
}

/** Options that change the answer ask again about the same picture. */
async function askAgain() {
  render();
  if (!state.file) return;
  state.pending?.abort();
  const pending = new AbortController();
  state.pending = pending;
  view.showError(null);
  view.showState("busy", state.bitmap !== null || state.frame !== null);
  await ask(pending);
}

async function chooseModel() {
  state.topology = (await showModel($("model").value)).topology;
}

async function start() {
  listenForChoice($("file"), take);
  listenForOptions();
  try {
    const models = await listModels();
    fillModels($("model"), $("model-field"), models);
    await chooseModel();
  } catch (error) {
    view.showError(error);
  }
  render();
}

function take(files) {
  look(files[0]);
}

function stem() {
  return (state.file.name || "picture").replace(/\.[^.]*$/, "");
}

function downloadJson() {
  const frame = { ...state.frame, people: shownPeople() };
  save(new Blob([JSON.stringify(frame, null, 2)], { type: "application/json" }), `${stem()}.json`);
}

async function downloadOverlay() {
  const query = baseQuery();
  query.set("min_score", minScore().toFixed(2));
  query.set("max_people", String(MOST_PEOPLE));
  try {
    save(await overlay(state.file, query), `${stem()}-poses.jpg`);
  } catch (error) {
    view.showError(error);
  }
}

function listenForOptions() {
  for (const option of $("picture-panel").querySelectorAll("input[name=resolution], #flip")) {
    option.addEventListener("change", askAgain);
  }
  $("model").addEventListener("change", async () => {
    await chooseModel().catch(view.showError);
    await askAgain();
  });
  $("min-score").addEventListener("input", render);
  $("download-json").addEventListener("click", downloadJson);
  $("download-overlay").addEventListener("click", downloadOverlay);
  window.addEventListener("resize", () => repaint(shownPeople()));
}

/** @type {import("./tabs.js").Tab} */
export const picture = {
  name: "picture",
  title: "YAOP: poses in pictures",
  accepts: (file) => file.type.startsWith("image/"),
  start,
  show: () => repaint(shownPeople()),
  hide: () => {},
  take,
};
