/**
 * How many pictures to have under way. A second one keeps the service busy while results travel; where they hardly do,
 * it only waits for the first, and is that much older when its turn comes.
 */

const WORTH_IT = 0.3; // share of the time in which the service would have nothing to do
const RECENT = 0.1;

/** Learns over one connection: the next one may be to somewhere else. */
export class Lead {
  #credits;
  #idle = null;

  /** @param {number} credits how many the service lets be under way */
  constructor(credits) {
    this.#credits = credits;
  }

  /**
   * Learn from a result.
   *
   * @param {number} away milliseconds from when its picture was begun to be encoded until it was there
   * @param {{total: number, queue?: number}} timing what the service says of them
   */
  learn(away, { total, queue = 0 }) {
    const travelled = Math.max(0, away - total);
    const idle = travelled / Math.max(travelled + total - queue, 1);
    this.#idle = this.#idle === null ? idle : this.#idle + RECENT * (idle - this.#idle);
  }

  get most() {
    return this.#idle !== null && this.#idle < WORTH_IT ? 1 : this.#credits;
  }
}
