/** What is asked for with the next video. */

import { videosUrl } from "./api.js";
import { $ } from "./dom.js";
import { changedOptions, keepOptions } from "./options.js";

/** @returns {URLSearchParams} the options that are not the default, by their names in the API */
export function chosenOptions() {
  return changedOptions($("video-options"));
}

/** Take up what was chosen the last time. */
export function startOptions() {
  keepOptions($("video-options"), "yaop.video.options", showOptions);
}

/** What follows from the options: the score as a number, people's numbers only with tracking, the shell command. */
export function showOptions() {
  $("video-min-score-value").textContent = Number($("video-min-score").value).toFixed(2);
  $("draw-ids").disabled = !$("track").checked;
  $("video-command").textContent = `curl -F video=@clip.mp4 '${location.origin}${videosUrl(chosenOptions())}'`;
}
