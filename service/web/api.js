/** The calls to the service. All of them throw a `ProblemError` when it answers with a problem. */

export class ProblemError extends Error {
  /** @param {{title?: string, detail?: string, status?: number, request_id?: string}} problem */
  constructor(problem) {
    super(problem.detail ?? "The service gave no reason.");
    this.title = problem.title ?? "Something went wrong";
    this.status = problem.status ?? null;
    this.requestId = problem.request_id ?? null;
  }
}

/** The error for an answer that is no success; `problem` is its body, null where that is no JSON. */
export function problemOf(problem, status, statusText) {
  if (problem?.title) return new ProblemError({ status, ...problem });
  return new ProblemError({ title: `Error ${status}`, detail: statusText || undefined, status });
}

async function check(response) {
  if (response.ok) return response;
  throw problemOf(await response.json().catch(() => null), response.status, response.statusText);
}

/** `fetch`, with a `ProblemError` for everything but a success. */
export async function call(url, init) {
  try {
    return await check(await fetch(url, init));
  } catch (error) {
    if (error instanceof TypeError) {
      throw new ProblemError({
        title: "The service does not answer",
        detail: "Is it still running? Check the connection and try again.",
      });
    }
    throw error;
  }
}

/**
 * @param {AbortSignal} [signal]
 * @returns {Promise<{name: string, version: string, default: boolean}[]>} the loaded models, the default first
 */
export async function listModels(signal) {
  return (await (await call("/models", { signal })).json()).models;
}

/** @param {string} name @returns {Promise<{topology: object}>} one model, with its topology */
export async function showModel(name) {
  return (await call(`/models/${encodeURIComponent(name)}`)).json();
}

/** @param {URLSearchParams} query @returns {string} */
export function poseUrl(query) {
  return `/pose?${query}`;
}

function post(picture, query, accept, signal) {
  const headers = { "Content-Type": "application/octet-stream", Accept: accept };
  return call(poseUrl(query), { method: "POST", body: picture, headers, signal });
}

/** The people in a picture, as one frame of results. */
export async function estimate(picture, query, signal) {
  return (await post(picture, query, "application/json", signal)).json();
}

/** The picture with its skeletons drawn by the service, as a JPEG blob. */
export async function overlay(picture, query) {
  return (await post(picture, query, "image/jpeg")).blob();
}

/** @param {URLSearchParams} query @returns {string} */
export function videosUrl(query) {
  return query.size ? `/videos?${query}` : "/videos";
}

/** @param {string} id @returns {string} */
export function videoUrl(id) {
  return `/videos/${encodeURIComponent(id)}`;
}

/**
 * One page of the jobs, newest first.
 *
 * @param {{limit: number, before?: string | null}} page `before` is the id of the last job of the page before
 * @returns {Promise<{videos: object[], next: string | null}>}
 */
export async function listVideos({ limit, before = null }) {
  const query = new URLSearchParams({ limit });
  if (before) query.set("before", before);
  return (await call(videosUrl(query), { cache: "no-store" })).json();
}

/** Cancel a job that is not finished, delete one that is. */
export async function deleteVideo(id) {
  await call(videoUrl(id), { method: "DELETE" });
}
