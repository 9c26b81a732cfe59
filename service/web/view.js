/** The parts of the page outside the canvas: what they show, given the state. */

const PHASES = ["decode", "queue", "network", "assembly", "total"];

const $ = (id) => document.getElementById(id);

/** @param {number} count @returns {string} */
export function countText(count) {
  if (count === 0) return "Nobody found";
  return count === 1 ? "1 person" : `${count} people`;
}

/** Show a problem, or clear the last one with null. */
export function showError(error) {
  $("error").hidden = error === null;
  if (error === null) return;
  $("error-title").textContent = error.title ?? "Something went wrong";
  $("error-detail").textContent = error.message;
  $("error-id").textContent = error.requestId ? `Request ${error.requestId}` : "";
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
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", String(person === chosen));
  button.setAttribute(
    "aria-label",
    `Person ${index + 1}, score ${person.score.toFixed(2)}, ${seen} keypoints. Show only this one`,
  );
  const name = document.createElement("span");
  name.textContent = `Person ${index + 1}`;
  const meter = document.createElement("meter");
  meter.value = person.score;
  const score = document.createElement("span");
  score.className = "number";
  score.textContent = person.score.toFixed(2);
  button.append(name, meter, score);
  button.addEventListener("click", () => choose(person === chosen ? null : person));
  const item = document.createElement("li");
  item.append(button);
  return item;
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
    const bar = document.createElement("span");
    bar.className = `phase-${phase}`;
    bar.style.flexGrow = timing[phase];
    return bar;
  });
  $("timing-bar").replaceChildren(...bars);
  $("timing").replaceChildren(...phases.flatMap((phase) => timingRow(phase, timing[phase])));
}

function timingRow(phase, milliseconds) {
  const swatch = document.createElement("dt");
  swatch.className = `swatch phase-${phase}`;
  swatch.setAttribute("aria-hidden", "true");
  const term = document.createElement("dt");
  term.textContent = phase;
  const value = document.createElement("dd");
  value.textContent = `${milliseconds.toFixed(1)} ms`;
  return [swatch, term, value];
}

/** The same request as a shell command. */
export function showCommand(query) {
  const shown = new URLSearchParams(query);
  const parameters = shown.size ? `?${shown}` : "";
  $("command").textContent = `curl -F image=@photo.jpg '${location.origin}/pose${parameters}'`;
}

/** Offer a blob as a download. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
