/** The skeletons over a playing video. They go when they are old: nothing is shown of where people were. */

import { clear, fitCanvas, paintPeople } from "./draw.js";

const STALE = 1_000;

export class Overlay {
  #canvas;
  #shown = null; // the arguments of the last `show`
  #timer = null;

  /** @param {HTMLCanvasElement} canvas its box is the video's */
  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#fit()).observe(canvas);
  }

  /**
   * @param {object} result @param {object} topology
   * @param {{mirror: boolean, patience: number}} view `patience`: milliseconds that the next one may take; a second is
   *   always granted
   */
  show(result, topology, { mirror, patience }) {
    this.#shown = { result, topology, mirror };
    this.#paint();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.clear(), Math.max(STALE, patience));
  }

  /** Show the same the other way round. */
  set mirror(mirror) {
    if (!this.#shown) return;
    this.#shown.mirror = mirror;
    this.#paint();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#shown = null;
    this.#paint();
  }

  #fit() {
    fitCanvas(this.#canvas, this.#canvas.clientWidth, this.#canvas.clientHeight);
    this.#paint();
  }

  #paint() {
    clear(this.#canvas);
    this.#canvas.dataset.index = this.#shown?.result.index ?? "";
    if (!this.#shown) return;
    const { result, topology, mirror } = this.#shown;
    paintPeople(this.#canvas, result, result.people, topology, { mirror, numbers: true });
  }
}
