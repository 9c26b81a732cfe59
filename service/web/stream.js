/**
 * A stream of pictures to the service and of people back, as docs/stream-protocol.md tells. What breaks is taken up
 * again, less and less often, until it works or `close` ends it.
 */

import { problemOf } from "./api.js";
import { Lead } from "./lead.js";

const PROTOCOL = "yaop.stream.v1";
const PICTURE = 0x01000010; // kind 1, a zero, and the length of the header as two bytes
const HEADER_BYTES = 16;

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const SILENCE = 10_000; // of a service that has a picture to answer, or is being connected to: the connection is dead
const LOOK = 1_000;

/** Close codes that say more than that the connection is gone. Those without `again` would come again. */
const ENDS = {
  1012: { title: "The service restarts", again: 1_000 },
  1013: { title: "The service has too many streams", again: 5_000 },
  4400: { title: "The service does not understand this page" },
  4408: { title: "The stream was silent for too long", again: FIRST_PAUSE },
  4409: { title: "The service does not understand this page" },
  4429: { title: "The service does not understand this page" },
  1007: { title: "The service does not understand this page" },
  1009: { title: "The camera's pictures are too large for the service" },
};

/**
 * @typedef {object} Trouble
 * @property {string} title
 * @property {string} detail
 * @property {number | null} at when the next try is, in milliseconds of `performance.now()`; null: there is none
 */

export class PoseStream {
  /** Pictures that the service passed over, or that were lost with a connection. */
  dropped = 0;

  #listeners;
  #socket = null;
  #hello = null; // null once it is closed
  #welcome = null;
  #underWay = new Map(); // by sequence number: when it was begun with, and the size of what it shows
  #lead = null; // of the connection
  #sequence = 0; // goes on over connections, so that each picture of a recording has its own
  #firstId = 0; // what people's numbers are raised by: those of the connections before are somebody else's
  #highestId = 0;
  #heard = 0;
  #busyUntil = 0;
  #lastWords = null;
  #pause = FIRST_PAUSE;
  #timer = null;
  #watch = null;

  /**
   * @param {object} listeners
   * @param {(welcome: object) => void} listeners.onWelcome pictures may be sent from now on
   * @param {(options: object) => void} listeners.onOptions all of them, as the results from now on are made with
   * @param {(result: object, source: {width: number, height: number}) => void} listeners.onResult `source` as it was
   *   sent with; people's numbers are of one person each since `restart`, over connections
   * @param {(trouble: Trouble) => void} listeners.onTrouble the connection broke, or there is none
   * @param {(error: Error, index: number | null) => void} listeners.onProblem with one picture, or, with null, with the
   *   options that were changed
   */
  constructor(listeners) {
    this.#listeners = listeners;
    window.addEventListener("online", () => this.tryNow());
  }

  /** @param {object} hello the options, the model and the credits */
  open(hello) {
    this.close();
    this.#hello = hello;
    this.#pause = FIRST_PAUSE;
    this.#connect();
  }

  /** Counts and people's numbers begin anew, with the connection that is opened next. */
  restart() {
    this.dropped = this.#firstId = this.#highestId = 0;
  }

  /** End it. Nothing is called back any more. */
  close() {
    this.#hello = null;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#letGo(1000);
  }

  get isOpen() {
    return this.#welcome !== null;
  }

  /** Whether the next picture may be sent: it never is where it would have to wait. */
  get hasCredit() {
    if (!this.isOpen || performance.now() < this.#busyUntil) return false;
    return this.#underWay.size < this.#lead.most;
  }

  /** The least milliseconds between pictures: those that come sooner would be passed over. */
  get pace() {
    return this.isOpen ? 1000 / this.#welcome.limits.fps : 0;
  }

  /**
   * Send a picture, for which there has to be a credit.
   *
   * @param {Uint8Array} jpeg
   * @param {object} about
   * @param {number} about.timestamp when it was taken, in seconds of whatever clock
   * @param {number} about.begun when its encoding was begun, in milliseconds of `performance.now()`
   * @param {{width: number, height: number}} about.source of what it shows, before it was made smaller
   */
  send(jpeg, { timestamp, begun, source }) {
    const message = new Uint8Array(HEADER_BYTES + jpeg.length);
    const header = new DataView(message.buffer);
    header.setUint32(0, PICTURE);
    header.setUint32(4, this.#sequence);
    header.setFloat64(8, timestamp);
    message.set(jpeg, HEADER_BYTES);
    if (this.#underWay.size === 0) this.#heard = performance.now();
    this.#underWay.set(this.#sequence, { begun, source });
    this.#sequence += 1;
    this.#socket.send(message);
  }

  /** Change some options, now and for the connections to come. */
  change(options) {
    if (!this.#hello) return;
    Object.assign(this.#hello, options);
    if (this.isOpen) this.#say({ type: "options", ...options });
  }

  /** Do not wait for the next try. */
  tryNow() {
    if (this.#timer !== null) this.#connect();
  }

  #say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#heard = performance.now();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/stream`, PROTOCOL);
    this.#socket = socket;
    const hello = { type: "hello", ...this.#hello };
    socket.onopen = () => {
      Object.assign(hello, this.#hello); // with what was changed meanwhile
      this.#say(hello);
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#onEnd(code, reason);
    this.#watch = setInterval(() => this.#lookForSilence(), LOOK);
  }

  /** Networks break without a word. */
  #lookForSilence() {
    const isWaiting = !this.isOpen || this.#underWay.size > 0;
    if (isWaiting && performance.now() - this.#heard > SILENCE) this.#onEnd(1006, "");
  }

  #hear(message) {
    this.#heard = performance.now();
    const sent = this.#underWay.get(message.index);
    this.#acknowledge(message);
    if (message.type === "welcome") {
      this.#welcome = message;
      this.#lead = new Lead(message.credits);
      this.#firstId = this.#highestId;
      this.#listeners.onOptions(message.options);
      this.#listeners.onWelcome(message);
    } else if (message.type === "options") {
      this.#listeners.onOptions(message.options);
    } else if (message.type === "result") {
      this.#pause = FIRST_PAUSE;
      if (!sent) return; // of a picture that was given up
      this.#lead.learn(this.#heard - sent.begun, message.timing_ms);
      this.#listeners.onResult({ ...message, people: message.people.map((person) => this.#raised(person)) }, sent.source);
    } else if (message.type === "error") {
      this.#hearProblem(message);
    }
  }

  #acknowledge({ index, skipped = [] }) {
    for (const sequence of [...skipped, index]) this.#underWay.delete(sequence);
    this.dropped += skipped.length;
  }

  #raised(person) {
    if (person.id === null) return person;
    const id = person.id + this.#firstId;
    this.#highestId = Math.max(this.#highestId, id);
    return { ...person, id };
  }

  #hearProblem({ index = null, fatal, problem }) {
    if (index !== null) this.dropped += 1;
    if (fatal) {
      this.#lastWords = problem; // the end itself comes next
      return;
    }
    if (problem.retry_after) this.#busyUntil = performance.now() + 1000 * problem.retry_after;
    this.#listeners.onProblem(problemOf(problem, problem.status, ""), index);
  }

  #onEnd(code, reason) {
    const wasOpen = this.isOpen;
    const said = this.#lastWords;
    this.#letGo();
    const end = ENDS[code];
    const detail = said?.detail ?? reason.replace(/^[a-z-]+: /, ""); // without the problem's name, for programs
    if (end && !end.again) {
      this.#hello = null;
      this.#listeners.onTrouble({ title: said?.title ?? end.title, detail, at: null });
      return;
    }
    const pause = Math.max(end?.again ?? 0, this.#pause) * (0.75 + Math.random() / 2);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#timer = setTimeout(() => this.#connect(), pause);
    const title = end?.title ?? (wasOpen ? "The connection was lost" : "The service does not answer");
    this.#listeners.onTrouble({ title, detail, at: performance.now() + pause });
  }

  /** Of the connection, not of the stream. */
  #letGo(code) {
    clearInterval(this.#watch);
    this.dropped += this.#underWay.size;
    this.#underWay.clear();
    this.#welcome = null;
    this.#busyUntil = 0;
    this.#lastWords = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }
}
