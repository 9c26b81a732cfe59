/** What decides which of a camera's frames go to the service: always the newest one, when there is a credit. */

import { jpegOf, watchFrames } from "./frames.js";

const LEAST_SIDE = 320;
const SIDE_PER_RESOLUTION = 1.5; // more pixels than that are wasted on the network

export class Sender {
  /** Frames that the camera gave while there was a stream for them. */
  frames = 0;

  #video;
  #stream;
  #began = 0;
  #resolution = 0;
  #sent = 0;
  #newest = null; // when the newest frame was taken that has not been sent
  #last = 0;
  #isBusy = false;
  #end = null;

  /** @param {HTMLVideoElement} video @param {import("./stream.js").PoseStream} stream */
  constructor(video, stream) {
    this.#video = video;
    this.#stream = stream;
  }

  /** Time and counts are from now on. */
  restart() {
    this.#began = performance.now();
    this.frames = this.#sent = 0;
    this.#stream.restart();
  }

  pause() {
    this.#end?.();
    this.#end = null;
    this.#newest = null;
  }

  resume() {
    this.#end ??= watchFrames(this.#video, (frame) => this.#onFrame(frame));
  }

  /** @param {number} resolution long side of the network's input */
  set resolution(resolution) {
    this.#resolution = resolution;
  }

  /** Frames that nobody looked at. */
  get dropped() {
    const waiting = (this.#newest === null ? 0 : 1) + (this.#isBusy ? 1 : 0);
    return Math.max(0, this.frames - this.#sent - waiting) + this.#stream.dropped;
  }

  /** @param {number} timestamp of a result @returns {number} the same in milliseconds of `performance.now()` */
  timeOf(timestamp) {
    return this.#began + 1000 * timestamp;
  }

  #onFrame({ taken, count }) {
    if (!this.#stream.isOpen) return;
    this.frames += count;
    this.#newest = taken;
    this.offer();
  }

  /** Send the newest frame if it may be sent now. To be called when a credit may have come back. */
  async offer() {
    const now = performance.now();
    if (this.#isBusy || this.#newest === null || !this.#stream.hasCredit) return;
    if (now - this.#last < this.#stream.pace) return;
    const taken = this.#newest;
    this.#newest = null;
    this.#last = now;
    this.#isBusy = true;
    const source = { width: this.#video.videoWidth, height: this.#video.videoHeight };
    const jpeg = await this.#encode();
    this.#isBusy = false;
    if (!jpeg || !this.#end || !this.#stream.hasCredit) return;
    this.#stream.send(jpeg, { timestamp: Math.max(0, taken - this.#began) / 1000, begun: now, source });
    this.#sent += 1;
    this.offer();
  }

  /** @returns {Promise<Uint8Array | null>} null where it did not work: the next frame may */
  #encode() {
    return jpegOf(this.#video, Math.max(LEAST_SIDE, SIDE_PER_RESOLUTION * this.#resolution)).catch(() => null);
  }
}
