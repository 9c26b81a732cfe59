/** The recent videos, and what is being sent. */

import { $, element } from "./dom.js";
import { ago, timeLeft } from "./format.js";
import { stateText } from "./video_result.js";

/**
 * @param {object[]} uploads being sent, or waiting to be
 * @param {object[]} jobs newest first
 * @param {string} shown id of the job on the stage; empty for none
 * @param {boolean} hasMore whether there are older ones
 */
export function showList(uploads, jobs, shown, hasMore) {
  const rows = [
    ...uploads.map((upload, index) => [`upload-${upload.key}`, uploadRow(upload, index === 0, shown === "")]),
    ...jobs.map((job) => [job.id, jobRow(job, job.id === shown)]),
  ];
  $("no-videos").hidden = rows.length > 0;
  $("older").hidden = !hasMore;
  update($("videos"), rows);
}

/** Rows that stay are kept, so that the focus and the pictures in them are, too. */
function update(list, rows) {
  const before = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = rows.map(([key, row]) => {
    const item = before.get(key) ?? element("li");
    item.dataset.key = key;
    if (item.firstElementChild) refresh(item.firstElementChild, row);
    else item.append(row);
    return item;
  });
  const isSame = items.length === list.children.length && items.every((item, index) => item === list.children[index]);
  if (!isSame) list.replaceChildren(...items);
}

function refresh(old, row) {
  for (const name of ["aria-current", "data-state", "href"]) {
    if (row.hasAttribute(name)) old.setAttribute(name, row.getAttribute(name));
    else old.removeAttribute(name);
  }
  const [picture, words] = old.children;
  if (picture.getAttribute("src") !== row.children[0].getAttribute("src")) picture.replaceWith(row.children[0]);
  if (words.innerHTML !== row.lastElementChild.innerHTML) words.replaceWith(row.lastElementChild);
}

function jobRow(job, isShown) {
  const name = job.filename ?? "Video";
  return row(`#video/${job.id}`, isShown, job.state, job.links.poster, name, jobText(job), fraction(job));
}

function jobText(job) {
  if (job.state !== "running") return `${stateText(job)} · ${ago(job.created_at)}`;
  const left = job.eta_seconds === null || job.eta_seconds === undefined ? "" : ` · ${timeLeft(job.eta_seconds)}`;
  return `${Math.floor((fraction(job) ?? 0) * 100)} %${left}`;
}

function fraction(job) {
  return job.state === "running" && job.frames_total > 0 ? job.frames_done / job.frames_total : null;
}

function uploadRow(upload, isFirst, isShown) {
  const sent = upload.total > 0 ? upload.sent / upload.total : 0;
  const text = isFirst ? `Sending, ${Math.floor(sent * 100)} %` : "Will be sent";
  return row("#video", isFirst && isShown, "uploading", null, upload.file.name, text, isFirst ? sent : null);
}

function row(href, isShown, state, poster, name, text, done) {
  const picture = poster
    ? element("img", { className: "thumbnail", src: poster, alt: "", loading: "lazy", width: 80, height: 50 })
    : element("span", { className: "thumbnail", "aria-hidden": "true" });
  const words = element(
    "span",
    { className: "words" },
    element("span", { className: "name", textContent: name }),
    element("span", { className: "quiet", textContent: text }),
  );
  if (done !== null) words.append(element("progress", { max: 1, value: done, "aria-hidden": "true" }));
  const link = element("a", { href, "data-state": state }, picture, words);
  if (isShown) link.setAttribute("aria-current", "true");
  return link;
}
