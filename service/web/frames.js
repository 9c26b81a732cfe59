/** The frames of a playing video, as JPEG. */

const QUALITY = 0.8;

/**
 * Call back for each frame that is shown.
 *
 * @param {HTMLVideoElement} video
 * @param {(frame: {taken: number, count: number}) => void} onFrame `taken` in milliseconds of `performance.now()`;
 *   `count` of frames since the last call, as calls may come late
 * @returns {() => void} ends it
 */
export function watchFrames(video, onFrame) {
  return video.requestVideoFrameCallback ? watchEach(video, onFrame) : watchTime(video, onFrame);
}

function watchEach(video, onFrame) {
  let handle = 0;
  let presented = null;
  const next = (now, { captureTime, presentedFrames }) => {
    handle = video.requestVideoFrameCallback(next);
    const count = presented === null ? 1 : Math.max(presentedFrames - presented, 1);
    presented = presentedFrames;
    onFrame({ taken: captureTime > now - 1000 && captureTime <= now ? captureTime : now, count });
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}

/** For browsers that do not tell of frames: looks whether the time moved, each time the screen is painted. */
function watchTime(video, onFrame) {
  let handle = 0;
  let last = -1;
  const next = (now) => {
    handle = requestAnimationFrame(next);
    if (video.currentTime === last || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    last = video.currentTime;
    onFrame({ taken: now, count: 1 });
  };
  handle = requestAnimationFrame(next);
  return () => cancelAnimationFrame(handle);
}

const canvas = document.createElement("canvas");

/**
 * What the video shows now, smaller if its long side is longer than this.
 *
 * @param {HTMLVideoElement} video @param {number} longSide in pixels @returns {Promise<Uint8Array | null>}
 */
export async function jpegOf(video, longSide) {
  const { videoWidth, videoHeight } = video;
  const scale = Math.min(1, longSide / Math.max(videoWidth, videoHeight));
  canvas.width = Math.round(videoWidth * scale);
  canvas.height = Math.round(videoHeight * scale);
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "medium"; // the low one leaves out pixels where a picture gets much smaller
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return blob && new Uint8Array(await blob.arrayBuffer());
}
