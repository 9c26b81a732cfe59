/** Files on their way to the service, one after the other. */

import { videosUrl } from "./api.js";
import { newKey, send } from "./upload.js";

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {string} key by which the service knows it again
 * @property {URLSearchParams} query its options
 * @property {string} url of the file, for this page
 * @property {number} sent bytes
 * @property {number} total bytes
 * @property {number} began when sending did, in milliseconds of `performance.now()`
 */

export class Uploads {
  /** Those that are not over; the first one is being sent. */
  all = [];

  /**
   * @param {object} listeners
   * @param {() => void} listeners.onChange
   * @param {(job: object, upload: Upload) => void} listeners.onAccepted the url of the file is its own from then on
   * @param {(error: Error, upload: Upload) => void} listeners.onRefused
   */
  constructor(listeners) {
    this.listeners = listeners;
  }

  /** Send files with these options. */
  add(files, query) {
    this.#push(files.map((file) => newUpload(file, newKey(), query)));
  }

  /** Send what was refused, as it was: with the same key and options, no second job comes of it. */
  again({ file, key, query }) {
    this.#push([newUpload(file, key, query)]);
  }

  /** Give the one up that is being sent. */
  cancel() {
    this.all[0]?.stop.abort();
  }

  #push(uploads) {
    const isIdle = this.all.length === 0;
    this.all.push(...uploads);
    if (isIdle) this.#sendAll();
    this.listeners.onChange();
  }

  async #sendAll() {
    while (this.all.length > 0) {
      const upload = this.all[0];
      try {
        this.listeners.onAccepted(await this.#send(upload), upload);
      } catch (error) {
        URL.revokeObjectURL(upload.url);
        if (!upload.stop.signal.aborted) this.listeners.onRefused(error, upload);
      }
      this.all.shift();
      this.listeners.onChange();
    }
  }

  #send(upload) {
    upload.began = performance.now();
    return send(upload.file, videosUrl(upload.query), {
      key: upload.key,
      signal: upload.stop.signal,
      onProgress: (sent, total) => {
        Object.assign(upload, { sent, total });
        this.listeners.onChange();
      },
    });
  }
}

function newUpload(file, key, query) {
  const url = URL.createObjectURL(file);
  return { file, key, query, url, sent: 0, total: file.size, began: 0, stop: new AbortController() };
}
