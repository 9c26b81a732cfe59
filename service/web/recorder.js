/** Results, kept as JSON Lines until they are saved. */

const MOST_BYTES = 200e6; // as text in memory; about two hours of one person at 25 a second

export class Recorder {
  frames = 0;
  bytes = 0;

  #parts = [];
  #lines = [];

  /** @param {object} result of a stream, in pixels of the camera's picture @returns {boolean} whether there is room for more */
  add({ type, skipped, dropped, picture, ...frame }) {
    const line = `${JSON.stringify(frame)}\n`;
    this.#lines.push(line);
    this.frames += 1;
    this.bytes += line.length; // names and numbers are ASCII
    if (this.#lines.length >= 256) this.#pack();
    return this.bytes < MOST_BYTES;
  }

  /** All of it, a frame a line. */
  blob() {
    this.#pack();
    return new Blob(this.#parts, { type: "application/jsonl" });
  }

  /** Blobs may be kept on disk by the browser. */
  #pack() {
    this.#parts.push(new Blob(this.#lines));
    this.#lines = [];
  }
}
