// Mouth crops as the server cuts them: see data_pipelines/extraction/worker/mouth.py, whose numbers
// and steps these are.

export const SIZE = 96; // side of a crop
const EYES_APART = 80;
const CORNERS_AT = [48, 44];
const [RIGHT_EYE, LEFT_EYE] = [33, 263];
const MOUTH_CORNERS = [61, 291];
const [SMOOTH_S, SMOOTH_SIZE_S, LONGEST_GAP_S] = [0.06, 0.3, 0.4];
export const [NO_FACE, FOUND, INTERPOLATED] = [0, 1, 2];

// Where the crop of each frame lies, [a, b, c, d, e, f]: x = a u + b v + c and y = d u + e v + f of
// the frame for u, v of the crop; and what it stands on. `vertex(t, i)` gives x, y, score.
export function transforms(nFrames, vertex, fps) {
  const frames = Array.from({ length: nFrames }, (_, t) => t);
  const eyes = frames.map((t) => [0, 1].map((c) => vertex(t, LEFT_EYE)[c] - vertex(t, RIGHT_EYE)[c]));
  const mouth = frames.map((t) => [0, 1].map((c) => (vertex(t, MOUTH_CORNERS[0])[c] + vertex(t, MOUTH_CORNERS[1])[c]) / 2));
  const found = frames.map((t) => vertex(t, RIGHT_EYE)[2] > 0 && Math.hypot(...eyes[t]) > 1);
  const states = statesOf(found, fps);
  const usable = states.map((state) => state !== NO_FACE);
  const column = (rows, c) => filled(rows.map((row) => row[c]), found);
  const [eyesX, eyesY, mouthX, mouthY] = [column(eyes, 0), column(eyes, 1), column(mouth, 0), column(mouth, 1)];
  const size = smooth(eyesX.map((x, t) => Math.hypot(x, eyesY[t])), usable, SMOOTH_SIZE_S * fps);
  const [dx, dy, mx, my] = [eyesX, eyesY, mouthX, mouthY].map((x) => smooth(x, usable, SMOOTH_S * fps));
  const found6 = frames.map((t) => {
    const scale = size[t] / EYES_APART / Math.max(Math.hypot(dx[t], dy[t]), 1e-6);
    const [cos, sin] = [dx[t] * scale, dy[t] * scale];
    const [u, v] = CORNERS_AT;
    return [cos, -sin, mx[t] - cos * u + sin * v, sin, cos, my[t] - sin * u - cos * v];
  });
  return { transforms: found6, states };
}

// The crop of a grey picture {data, width, height}: each pixel is the mean of as many bilinear
// samples as it covers pixels of the picture, whose edge goes on outside.
export function cut(grey, [a, b, c, d, e, f]) {
  const n = Math.min(Math.max(1, Math.ceil(Math.hypot(a, d))), 16);
  const crop = new Uint8Array(SIZE * SIZE);
  for (let row = 0; row < SIZE; row++) {
    for (let col = 0; col < SIZE; col++) {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const v = row + (i + 0.5) / n - 0.5;
        for (let j = 0; j < n; j++) {
          const u = col + (j + 0.5) / n - 0.5;
          sum += bilinear(grey, a * u + b * v + c, d * u + e * v + f);
        }
      }
      crop[row * SIZE + col] = Math.min(255, Math.max(0, Math.round(sum / (n * n))));
    }
  }
  return crop;
}

// Frames without a face show the mean of the others; where there is none, there are no crops.
export function fillMissing(crops, states) {
  const seen = crops.filter((_, t) => states[t] !== NO_FACE);
  if (!seen.length) return [];
  const mean = new Uint8Array(SIZE * SIZE);
  for (let i = 0; i < mean.length; i++) mean[i] = Math.round(seen.reduce((sum, crop) => sum + crop[i], 0) / seen.length);
  return crops.map((crop, t) => (states[t] === NO_FACE ? mean : crop));
}

function statesOf(found, fps) {
  const states = found.map((is) => (is ? FOUND : NO_FACE));
  for (let start = 0; start < found.length; start++) {
    if (found[start]) continue;
    let end = start;
    while (end < found.length && !found[end]) end++;
    if (end - start <= LONGEST_GAP_S * fps && end - start < found.length) states.fill(INTERPOLATED, start, end);
    start = end;
  }
  return states;
}

// Values of frames without a face in a line between their neighbours with one.
function filled(x, found) {
  const known = x.map((_, t) => t).filter((t) => found[t]);
  if (!known.length) return x.map(() => 0);
  return x.map((value, t) => {
    if (found[t]) return value;
    const after = known.find((k) => k > t);
    const before = known.findLast((k) => k < t);
    if (after === undefined) return x[before];
    if (before === undefined) return x[after];
    return x[before] + ((x[after] - x[before]) * (t - before)) / (after - before);
  });
}

// The line that fits the usable frames about each frame best, there, weighed by a Gaussian.
function smooth(x, usable, sigma) {
  const reach = Math.min(Math.ceil(3 * sigma), Math.max(x.length - 1, 0));
  return x.map((_, t) => {
    let [s0, s1, s2, t0, t1] = [0, 0, 0, 0, 0];
    for (let step = -reach; step <= reach; step++) {
      if (!usable[t - step]) continue;
      const weight = Math.exp(-0.5 * (step / Math.max(sigma, 1e-6)) ** 2);
      s0 += weight;
      s1 += weight * step;
      s2 += weight * step * step;
      t0 += weight * x[t - step];
      t1 += weight * step * x[t - step];
    }
    const spread = s0 * s2 - s1 * s1;
    return spread > 1e-6 ? (s2 * t0 - s1 * t1) / spread : t0 / Math.max(s0, 1e-12);
  });
}

function bilinear({ data, width, height }, x, y) {
  x = Math.min(Math.max(x, 0), width - 1);
  y = Math.min(Math.max(y, 0), height - 1);
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const [dx, dy] = [x - left, y - top];
  const above = data[top * width + left] * (1 - dx) + data[top * width + right] * dx;
  const below = data[bottom * width + left] * (1 - dx) + data[bottom * width + right] * dx;
  return above * (1 - dy) + below * dy;
}
