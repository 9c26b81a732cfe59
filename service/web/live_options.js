/** How the live tab looks at people: its form, as the stream takes it and as the shell command does. */

import { $, fillModels } from "./dom.js";
import { changedOptions, keepOptions } from "./options.js";

const CREDITS = 2; // one picture is worked on while the next is on its way

const form = () => $("live-options");

/** Take up what was chosen the last time; `onChange` is called with every change. */
export function startOptions(onChange) {
  keepOptions(form(), "yaop.live.options", () => {
    showOptions();
    onChange();
  });
}

/** @returns {object} the options that may change while a stream goes on */
export function streamOptions() {
  return {
    resolution: form().querySelector("input[name=resolution]:checked").value,
    min_score: Number($("live-min-score").value),
    track: $("live-track").checked,
    smooth: $("live-track").checked && $("live-smooth").checked,
  };
}

/** @returns {object} what a stream begins with; the default model is not named, as another may take its place */
export function hello() {
  const model = $("live-model").selectedOptions[0];
  return { credits: CREDITS, ...(model && !model.defaultSelected ? { model: model.value } : {}), ...streamOptions() };
}

/** The choice stays while there is such a model. @param {{name: string}[]} models the loaded ones, the default first */
export function offerModels(models) {
  const select = $("live-model");
  const chosen = select.value;
  fillModels(select, $("live-model-field"), models);
  if (models.some(({ name }) => name === chosen)) select.value = chosen;
  showOptions();
}

/** What follows from the options: the score as a number, smoothing only with tracking, the shell command. */
function showOptions() {
  $("live-min-score-value").textContent = Number($("live-min-score").value).toFixed(2);
  $("live-smooth").disabled = !$("live-track").checked;
  $("live-command").textContent = command();
}

function command() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const chosen = { resolution: streamOptions().resolution, ...Object.fromEntries(changedOptions(form())) };
  const flags = Object.entries(chosen).map(([name, value]) => {
    const flag = name.replaceAll("_", "-");
    if (value === "true" || value === "false") return value === "true" ? `--${flag}` : `--no-${flag}`;
    return `--${flag} ${value}`;
  });
  return [`yaop stream --url ${scheme}//${location.host}/stream`, ...flags].join(" ");
}
