/** What is asked for with the next video. The markup has the defaults; only what differs from them is sent. */

import { videosUrl } from "./api.js";
import { $ } from "./dom.js";

const KEPT = "yaop.video.options";

const form = () => $("video-options");

/** @returns {URLSearchParams} the options that are not the default, by their names in the API */
export function chosenOptions() {
  const query = new URLSearchParams();
  for (const field of form().elements) {
    const value = changedValue(field);
    if (field.name && value !== null) query.set(field.name, value);
  }
  return query;
}

function changedValue(field) {
  if (field.type === "radio") return field.checked && !field.defaultChecked ? field.value : null;
  if (field.type === "checkbox") return field.checked === field.defaultChecked ? null : String(field.checked);
  if (field.tagName === "SELECT") return field.selectedOptions[0]?.defaultSelected ? null : field.value || null;
  return field.value === field.defaultValue ? null : field.value;
}

function apply(query) {
  for (const field of form().elements) {
    if (!query.has(field.name)) continue;
    const value = query.get(field.name);
    if (field.type === "radio") field.checked = field.value === value;
    else if (field.type === "checkbox") field.checked = value === "true";
    else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value)) {
      field.value = value;
    }
  }
}

/** Take up what was chosen the last time, and keep what will be. */
export function startOptions() {
  try {
    apply(new URLSearchParams(localStorage.getItem(KEPT) ?? ""));
  } catch {
    // A browser that keeps nothing: the defaults.
  }
  form().addEventListener("input", () => {
    try {
      localStorage.setItem(KEPT, chosenOptions().toString());
    } catch {
      // It is kept until the page is closed.
    }
    showOptions();
  });
  form().addEventListener("submit", (event) => event.preventDefault());
  showOptions();
}

/** What follows from the options: the score as a number, people's numbers only with tracking, the shell command. */
export function showOptions() {
  $("video-min-score-value").textContent = Number($("video-min-score").value).toFixed(2);
  $("draw-ids").disabled = !$("track").checked;
  $("video-command").textContent = `curl -F video=@clip.mp4 '${location.origin}${videosUrl(chosenOptions())}'`;
}
