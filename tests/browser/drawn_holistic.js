// Stands in for MediaPipe's holistic.js: finds drawn faces, as tests/drawn_face_worker.py does.

const DOTS = [[230, 20, 20], [20, 230, 20], [20, 20, 230], [230, 230, 20]]; // right eye, left eye, mouth corners
const VERTICES = [33, 263, 61, 291];

window.Holistic = class {
  setOptions() {}
  async initialize() {}
  reset() {}

  onResults(told) {
    this.told = told;
  }

  async send({ image }) {
    const [width, height] = [image.videoWidth, image.videoHeight];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const body = new Array(33).fill({ x: 0, y: 0, visibility: 0 });
    body[11] = { x: 0.8, y: 1, visibility: 0.9 };
    body[12] = { x: 0.2, y: 1, visibility: 0.9 };
    const results = { poseLandmarks: body, rightHandLandmarks: new Array(21).fill({ x: 0.3, y: 0.9 }) };
    const found = DOTS.map((colour) => centreOf(data, width, height, colour));
    if (found.every(Boolean)) results.faceLandmarks = faceOf(found, width, height);
    this.told(results);
  }
};

function centreOf(data, width, height, colour) {
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    if (colour.some((value, c) => Math.abs(data[4 * i + c] - value) >= 60)) continue;
    n += 1;
    x += i % width;
    y += Math.floor(i / width);
  }
  return n ? { x: x / n / width, y: y / n / height } : null;
}

function faceOf(found, width, height) {
  const mean = (axis) => found.reduce((sum, point) => sum + point[axis], 0) / found.length;
  const middle = { x: mean("x"), y: mean("y") };
  const face = new Array(468).fill(middle);
  VERTICES.forEach((vertex, i) => (face[vertex] = found[i]));
  const apart = Math.hypot((found[1].x - found[0].x) * width, (found[1].y - found[0].y) * height) / height;
  face[10] = { x: middle.x, y: middle.y - apart };
  face[152] = { x: middle.x, y: middle.y + apart };
  return face;
}
