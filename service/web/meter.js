/** How well a stream does, over the last seconds. */

const WINDOW = 3_000;

export class Meter {
  #results = []; // {at, latency}, both in milliseconds
  #began = 0;

  /** Forget what was; figures are of what comes from now on. */
  restart() {
    this.#results = [];
    this.#began = performance.now();
  }

  /** @param {number} taken when the result's picture was, in milliseconds of `performance.now()` */
  add(taken) {
    const at = performance.now();
    this.#results.push({ at, latency: at - taken });
  }

  /** @returns {{fps: number | null, latency: number | null}} results a second; their median age in milliseconds */
  read() {
    const now = performance.now();
    const from = now - WINDOW;
    while (this.#results.length > 0 && this.#results[0].at < from) this.#results.shift();
    const count = this.#results.length;
    if (count === 0) return { fps: null, latency: null };
    const latencies = this.#results.map(({ latency }) => latency).sort((one, other) => one - other);
    const seconds = Math.max(now - Math.max(from, this.#began), 500) / 1000;
    return { fps: count / seconds, latency: latencies[count >> 1] };
  }
}
