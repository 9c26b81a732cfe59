/**
 * Server-sent events over fetch: unlike `EventSource` it can send headers, and it says what is wrong.
 */

import { call, ProblemError } from "./api.js";

const NO_CONTENT = 204;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5_000;
const SILENCE = 45_000; // keep-alives come more often, so a connection that is silent for so long is dead

/**
 * Events, until one of type `done`; what breaks is taken up again after the last event that came.
 *
 * @param {string} url
 * @param {{signal: AbortSignal, onTrouble?: (error: Error | null) => void}} options `onTrouble` gets what broke the
 *   connection, and null once it is there again
 * @yields {{id?: string, event: string, data: string}}
 * @throws {ProblemError} when the service says that asking again is no use
 */
export async function* follow(url, { signal, onTrouble = () => {} }) {
  let last = null;
  let pause = FIRST_PAUSE;
  for (;;) {
    try {
      for await (const event of connect(url, last, signal)) {
        if (event === null) return;
        pause = FIRST_PAUSE;
        onTrouble(null);
        last = event.id ?? last;
        yield event;
        if (event.event === "done") return;
      }
    } catch (error) {
      if (signal.aborted || isFinal(error)) throw error;
      onTrouble(error);
    }
    await wait(pause * (0.75 + Math.random() / 2), signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

/** Whether the same request would fail again. */
function isFinal(error) {
  const { status } = error;
  return error instanceof ProblemError && status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}

/** Events of one connection; null if the service has no more of them. */
async function* connect(url, last, signal) {
  const own = new AbortController();
  const stop = () => own.abort();
  signal.addEventListener("abort", stop);
  let timer = setTimeout(stop, SILENCE);
  try {
    const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
    const response = await call(url, { headers, signal: own.signal, cache: "no-store" });
    const restart = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE);
    };
    if (response.status === NO_CONTENT) yield null;
    else yield* parse(response.body, restart);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    own.abort();
  }
}

async function* parse(body, onChunk) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onChunk();
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const event = readEvent(block);
      if (event) yield event;
    }
  }
}

/** One block of lines; null for one without data, such as a keep-alive. */
function readEvent(block) {
  const event = { event: "message", data: [] };
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (field === "data") event.data.push(value ?? "");
    else if (field === "event" || field === "id") event[field] = value ?? "";
  }
  return event.data.length > 0 ? { ...event, data: event.data.join("\n") } : null;
}

/** A pause that ends early when the machine is connected again, or the person comes back to the page. */
function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const end = () => {
      ended.abort();
      clearTimeout(timer);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    window.addEventListener("online", end, { signal: ended.signal });
    document.addEventListener("visibilitychange", end, { signal: ended.signal });
    signal.addEventListener("abort", end, { signal: ended.signal });
    if (signal.aborted) end();
  });
}
