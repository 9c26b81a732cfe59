/** The parts of the picture tab outside the canvas: what they show, given the state. */

import { $, countText, element, showProblem } from "./dom.js";

const PHASES = ["decode", "queue", "network", "assembly", "total"];

/** Show a problem, or clear the last one with null. */
export function showError(error) {
  showProblem($("error"), error);
}

/** empty, busy or done; a picture stays visible while the next answer is awaited. */
export function showState(state, hasPicture) {
  $("stage").dataset.state = state;
  $("stage").setAttribute("aria-busy", String(state === "busy"));
  $("busy").hidden = state !== "busy";
  $("invitation").hidden = hasPicture || state === "busy";
  $("canvas").hidden = !hasPicture;
  $("another").hidden = !hasPicture;
}

/** The count, the list and what can be downloaded. `choose` gets a person, or null to choose nobody. */
export function showPeople(people, total, chosen, choose) {
  const hidden = total - people.length;
  $("count").textContent = countText(people.length) + (hidden > 0 ? ` (${hidden} below the score)` : "");
  $("legend").hidden = people.length === 0;
  $("people").replaceChildren(...people.map((person, index) => personItem(person, index, chosen, choose)));
}

function personItem(person, index, chosen, choose) {
  const seen = Object.values(person.keypoints).filter(Boolean).length;
  const label = `Person ${index + 1}, score ${person.score.toFixed(2)}, ${seen} keypoints. Show only this one`;
  const pressed = String(person === chosen);
  const button = element(
    "button",
    { type: "button", "aria-pressed": pressed, "aria-label": label },
    element("span", { textContent: `Person ${index + 1}` }),
    element("meter", { value: person.score }),
    element("span", { className: "number", textContent: person.score.toFixed(2) }),
  );
  button.addEventListener("click", () => choose(person === chosen ? null : person));
  return element("li", {}, button);
}

/** Forget the last result: there is none for what is shown now. */
export function showNothing(text) {
  $("count").textContent = text;
  $("people").replaceChildren();
  $("legend").hidden = true;
  $("timing-bar").replaceChildren();
  enableDownloads(false);
}

/** @param {boolean} enabled */
export function enableDownloads(enabled) {
  $("download-json").disabled = !enabled;
  $("download-overlay").disabled = !enabled;
}

/** Bars and numbers of `timing_ms`. */
export function showTiming(timing) {
  const phases = PHASES.filter((phase) => phase in timing);
  const bars = phases.filter((phase) => phase !== "total").map((phase) => {
    const bar = element("span", { className: `phase-${phase}` });
    bar.style.flexGrow = timing[phase];
    return bar;
  });
  $("timing-bar").replaceChildren(...bars);
  $("timing").replaceChildren(...phases.flatMap((phase) => timingRow(phase, timing[phase])));
}

function timingRow(phase, milliseconds) {
  return [
    element("dt", { className: `swatch phase-${phase}`, "aria-hidden": "true" }),
    element("dt", { textContent: phase }),
    element("dd", { textContent: `${milliseconds.toFixed(1)} ms` }),
  ];
}

/** The same request as a shell command. */
export function showCommand(query) {
  const shown = new URLSearchParams(query);
  const parameters = shown.size ? `?${shown}` : "";
  $("command").textContent = `curl -F image=@photo.jpg '${location.origin}/pose${parameters}'`;
}
