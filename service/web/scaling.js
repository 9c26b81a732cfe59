/** Results of pictures that were sent smaller, in pixels of what the camera gave. (0, 0) is the centre of the first. */

const DIGITS = 2;

/**
 * @param {object} frame of results, in pixels of the picture that was sent
 * @param {{width: number, height: number}} source size of the picture before it was made smaller
 * @returns {object} the same frame in pixels of `source`, as of `service/live/scaling.py`
 */
export function toSource(frame, { width, height }) {
  if (frame.width === width && frame.height === height) return frame;
  const scale = { x: width / frame.width, y: height / frame.height };
  return { ...frame, width, height, people: frame.people.map((person) => scaled(person, scale)) };
}

function scaled(person, scale) {
  const points = Object.entries(person.keypoints).map(([name, point]) => [
    name,
    point && { ...point, x: moved(point.x, scale.x), y: moved(point.y, scale.y) },
  ]);
  const [x, y, width, height] = person.bbox;
  const corner = points.some(([, point]) => point) ? [moved(x, scale.x), moved(y, scale.y)] : [x, y];
  const bbox = [...corner, rounded(width * scale.x), rounded(height * scale.y)];
  return { ...person, bbox, keypoints: Object.fromEntries(points) };
}

const moved = (value, scale) => rounded((value + 0.5) * scale - 0.5);

const rounded = (value) => Number(value.toFixed(DIGITS));
