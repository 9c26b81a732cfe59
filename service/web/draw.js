/** Skeletons on a canvas. Coordinates are those of the upright picture; (0, 0) is the centre of its first pixel. */

const OUTLINE = "rgb(24 24 24 / 85%)";
const FAINT = 0.18;
const GOLDEN = 0.618034; // turns of the colour wheel, as in annotated videos: neighbouring numbers look different
const INK = "rgb(16 18 26)";

/** Size in CSS pixels at which a `width` x `height` picture fits into `room`, never enlarged beyond twice. */
export function fit(width, height, room) {
  const scale = Math.min(room.width / width, room.height / height, 2);
  return { scale, width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * Paint a picture and the people in it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasImageSource | null} picture upright; null paints the people on an empty canvas
 * @param {{width: number, height: number}} size of the upright picture
 * @param {object[]} people of a frame
 * @param {{keypoints: string[], bones: number[][], colors: number[][]} | null} topology null while there are no people
 * @param {{room: {width: number, height: number}, chosen: object | null}} view room in CSS pixels; the person to stress
 */
export function paint(canvas, picture, size, people, topology, view) {
  const shown = fit(size.width, size.height, view.room);
  fitCanvas(canvas, shown.width, shown.height);
  canvas.style.width = `${shown.width}px`;
  canvas.style.height = `${shown.height}px`;
  if (picture) canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  paintPeople(canvas, size, people, topology, { chosen: view.chosen });
}

/** Give a canvas of this size in CSS pixels as many as the screen has for it, and clear it. */
export function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
}

/** Nothing on it any more. */
export function clear(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

/**
 * Paint people over what the canvas shows, which is all of their picture, at whatever size.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number}} size of the picture that the people's coordinates are of
 * @param {object[]} people of a frame
 * @param {{keypoints: string[], bones: number[][], colors: number[][]}} topology
 * @param {{chosen?: object | null, mirror?: boolean, numbers?: boolean}} view the person to stress; whether the
 *   picture is shown flipped left to right; whether people get their number over their head
 */
export function paintPeople(canvas, size, people, topology, { chosen = null, mirror = false, numbers = false } = {}) {
  if (people.length === 0) return;
  const context = canvas.getContext("2d");
  const scale = { x: canvas.width / size.width, y: canvas.height / size.height };
  const place = ({ x, y }) => ({ x: (mirror ? size.width - 0.5 - x : x + 0.5) * scale.x, y: (y + 0.5) * scale.y });
  const css = topology.colors.map(([red, green, blue]) => `rgb(${red} ${green} ${blue})`);
  for (const person of [...people].reverse()) {
    const points = topology.keypoints.map((name) => person.keypoints[name] && place(person.keypoints[name]));
    context.globalAlpha = chosen && chosen !== person ? FAINT : 1;
    paintPerson(context, points, topology.bones, css, limbWidth(person, size, scale.x));
    if (numbers && person.id !== null) paintNumber(context, points, person.id);
  }
  context.globalAlpha = 1;
}

/** In pixels of the canvas. */
function limbWidth(person, size, scale) {
  const extent = Math.max(person.bbox[2], person.bbox[3]);
  const least = 1.5 * (window.devicePixelRatio || 1);
  return Math.max(least, scale * Math.min(0.025 * extent, 0.012 * Math.max(size.width, size.height)));
}

function paintPerson(context, points, bones, css, width) {
  paintPass(context, points, bones, width * 1.7, () => OUTLINE);
  paintPass(context, points, bones, width, (index) => css[index]);
}

function paintPass(context, points, bones, width, color) {
  context.lineCap = "round";
  context.lineWidth = width;
  for (const [first, second] of bones) {
    if (!points[first] || !points[second]) continue;
    context.strokeStyle = color(second);
    context.beginPath();
    context.moveTo(points[first].x, points[first].y);
    context.lineTo(points[second].x, points[second].y);
    context.stroke();
  }
  points.forEach((point, index) => {
    if (!point) return;
    context.fillStyle = color(index);
    context.beginPath();
    context.arc(point.x, point.y, width * 0.85, 0, 2 * Math.PI);
    context.fill();
  });
}

/** A tag over the head, inside the picture. */
function paintNumber(context, points, number) {
  const seen = points.filter(Boolean);
  if (seen.length === 0) return;
  const { width, height } = context.canvas;
  const size = Math.min(Math.max(0.018 * Math.max(width, height), 12 * (window.devicePixelRatio || 1)), 48);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const box = { width: Math.max(context.measureText(number).width + size, 1.7 * size), height: 1.7 * size };
  const xs = seen.map(({ x }) => x);
  const x = within((Math.min(...xs) + Math.max(...xs)) / 2, box.width, width);
  const y = within(Math.min(...seen.map((point) => point.y)) - 2 * size - box.height / 2, box.height, height);
  context.fillStyle = `hsl(${((number * GOLDEN) % 1) * 360} 100% 67.5%)`;
  context.beginPath();
  context.roundRect(x - box.width / 2, y - box.height / 2, box.width, box.height, box.height / 2);
  context.fill();
  context.fillStyle = INK;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(number, x, y + 0.05 * size);
}

/** The middle of something of this length that is wholly between 0 and `most`. */
function within(middle, length, most) {
  return Math.min(Math.max(middle, length / 2), most - length / 2);
}
