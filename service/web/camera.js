/** The cameras of this device, and what to do where one cannot be had. */

const WANTED = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const BACK = /\b(back|rear|environment)\b/i;

/** Why there are no pictures from a camera, and what would help. */
export class CameraError extends Error {
  /** @param {string} title @param {string} detail */
  constructor(title, detail) {
    super(detail);
    this.title = title;
  }
}

/** One camera at a time, shown in a `<video>`. */
export class Camera {
  #video;
  #listeners;
  #stream = null;
  #asking = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {{onLost: () => void, onMute: (isMuted: boolean) => void}} listeners `onLost` when the camera goes away by
   *   itself, `onMute` when it stops giving pictures for a while
   */
  constructor(video, listeners) {
    this.#video = video;
    this.#listeners = listeners;
  }

  /**
   * Turn on the camera with this id; without one, or where it is gone, the browser's choice.
   *
   * @param {string} id @returns {Promise<boolean>} false if `close` or another `open` came in between
   * @throws {CameraError} it cannot be had
   */
  async open(id) {
    this.close(); // many cameras can be opened only once
    const mine = this.#asking;
    const stream = await ask(id);
    if (mine !== this.#asking) {
      stop(stream);
      return false;
    }
    this.#stream = stream;
    this.#listen(stream.getVideoTracks()[0]);
    this.#video.srcObject = stream;
    await this.#video.play().catch(() => {}); // interrupted, because it was closed meanwhile
    return mine === this.#asking;
  }

  #listen(track) {
    const isMine = () => this.#stream?.getVideoTracks()[0] === track;
    track.addEventListener("ended", () => isMine() && this.#listeners.onLost());
    track.addEventListener("mute", () => isMine() && this.#listeners.onMute(true));
    track.addEventListener("unmute", () => isMine() && this.#listeners.onMute(false));
  }

  /** Turn it off; its light goes out. */
  close() {
    this.#asking += 1;
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
    this.#video.srcObject = null;
  }

  get isOpen() {
    return this.#stream !== null;
  }

  /** Whether it gives no pictures for now. */
  get isMuted() {
    return this.#stream?.getVideoTracks()[0].muted ?? false;
  }

  /** The id of the camera that is on; empty without one. */
  get id() {
    return this.#stream?.getVideoTracks()[0].getSettings().deviceId ?? "";
  }

  /** Whether it looks away from the person who holds the device, so that a mirror would be wrong. */
  get looksAway() {
    const track = this.#stream?.getVideoTracks()[0];
    const facing = track?.getSettings().facingMode;
    return facing ? facing !== "user" : BACK.test(track?.label ?? "");
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

async function ask(id) {
  const problem = whyNone();
  if (problem) throw problem;
  try {
    const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
    return await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...which } });
  } catch (error) {
    if (error.name === "OverconstrainedError" && id) return ask("");
    throw explain(error);
  }
}

/** @returns {CameraError | null} why this page can have no camera, whatever the person does */
export function whyNone() {
  if (!window.isSecureContext) {
    return new CameraError(
      "The camera needs a secure connection",
      "Browsers give pages a camera only over https, or from this device itself. Open this page over https, or, on the " +
        `machine that runs the service, as ${location.protocol}//localhost${location.port && `:${location.port}`}.`,
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || !("WebSocket" in window)) {
    return new CameraError(
      "This browser is too old",
      "It gives pages no camera. Use a current Chrome, Edge, Firefox or Safari.",
    );
  }
  return null;
}

function explain(error) {
  switch (error.name) {
    case "NotFoundError":
      return new CameraError(
        "No camera found",
        "Connect one, or turn it on in the settings of the system. Then try again.",
      );
    case "NotAllowedError":
      return new CameraError(
        "The camera is not allowed",
        "Allow it for this page: in the browser by the sign beside the address, on some systems in the privacy " +
          "settings, too. Then try again.",
      );
    case "NotReadableError":
    case "AbortError":
      return new CameraError(
        "The camera cannot be used",
        "Another program may be using it. Close that, or choose another camera, and try again.",
      );
    default:
      return new CameraError(
        "The camera does not work",
        `The browser says: ${error.message || error.name}. Try again, or choose another camera.`,
      );
  }
}

/**
 * @returns {Promise<{id: string, label: string}[]>} the cameras, none where they cannot be had; before the first leave
 *   their names are unknown
 */
export async function listCameras() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []); // it works without a choice
  return (devices ?? [])
    .filter(({ kind, deviceId }) => kind === "videoinput" && deviceId)
    .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `Camera ${index + 1}` }));
}

/** Call back when a camera is connected or taken away. */
export function onCamerasChange(callback) {
  navigator.mediaDevices?.addEventListener?.("devicechange", callback);
}
