/** Sending a video: XMLHttpRequest, because fetch does not tell how much has been sent. */

import { ProblemError, problemOf } from "./api.js";

/**
 * @param {File} file
 * @param {string} url with the options in its query
 * @param {{key: string, signal: AbortSignal, onProgress: (sent: number, total: number) => void}} options
 *   `key` makes sending the same again safe
 * @returns {Promise<object>} the job
 * @throws {ProblemError} the service refused it, or the connection broke
 */
export function send(file, url, { key, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("video", file, file.name);
    request.open("POST", url);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded, total));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300 && request.response) resolve(request.response);
      else reject(problemOf(request.response, request.status, request.statusText));
    });
    request.addEventListener("error", () => reject(broken()));
    request.addEventListener("abort", () => reject(signal.reason ?? broken()));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function broken() {
  return new ProblemError({
    title: "The upload broke off",
    detail: "The connection was lost, or the file can no longer be read. Nothing was kept; try again.",
  });
}

/** A key that no other upload has. */
export function newKey() {
  const numbers = crypto.getRandomValues(new Uint8Array(16)); // randomUUID() is missing on plain http
  return [...numbers].map((number) => number.toString(16).padStart(2, "0")).join("");
}
