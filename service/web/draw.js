/** Skeletons on a canvas. Coordinates are those of the upright picture; (0, 0) is the centre of its first pixel. */

const OUTLINE = "rgb(24 24 24 / 85%)";
const FAINT = 0.18;

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
 * @param {{keypoints: string[], bones: number[][], colors: number[][]}} topology
 * @param {{room: {width: number, height: number}, chosen: object | null}} view room in CSS pixels; the person to stress
 */
export function paint(canvas, picture, size, people, topology, view) {
  const ratio = window.devicePixelRatio || 1;
  const shown = fit(size.width, size.height, view.room);
  canvas.width = Math.round(shown.width * ratio);
  canvas.height = Math.round(shown.height * ratio);
  canvas.style.width = `${shown.width}px`;
  canvas.style.height = `${shown.height}px`;
  const context = canvas.getContext("2d");
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const scale = canvas.width / size.width;
  for (const person of [...people].reverse()) {
    context.globalAlpha = view.chosen && view.chosen !== person ? FAINT : 1;
    paintPerson(context, person, topology, size, scale, ratio);
  }
  context.globalAlpha = 1;
}

function paintPerson(context, person, topology, size, scale, ratio) {
  const points = topology.keypoints.map((name) => {
    const point = person.keypoints[name];
    return point && { x: (point.x + 0.5) * scale, y: (point.y + 0.5) * scale };
  });
  const extent = Math.max(person.bbox[2], person.bbox[3]);
  const width = Math.max(1.5 * ratio, scale * Math.min(0.025 * extent, 0.012 * Math.max(size.width, size.height)));
  const css = topology.colors.map(([red, green, blue]) => `rgb(${red} ${green} ${blue})`);
  paintPass(context, points, topology.bones, width * 1.7, () => OUTLINE);
  paintPass(context, points, topology.bones, width, (index) => css[index]);
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
